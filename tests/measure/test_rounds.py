import gc
from collections.abc import Callable

import numpy
import pytest
import torch

from prunelle.measure.rounds import STABLE, plan_turns, synchroniser, take_round, take_turn, undisturbed, warm_up

CPU = synchroniser(torch.device("cpu"))


class FakeClock:
    """Stands still but for the functions it makes."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def function(self, ns: Callable[[], int], note: Callable[[], None] = lambda: None) -> Callable[[], None]:
        def run() -> None:
            note()
            self.now += ns()

        return run


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_turn_times_each_call_and_leaves_the_first_out_when_it_refills_the_cache(clock):
    times = iter([50, 7, 8, 9])
    fn = clock.function(lambda: next(times))
    assert take_turn(fn, 3, True, CPU, clock) == [7, 8, 9]


def test_a_turn_waits_for_the_device_before_it_starts_and_inside_each_sample(clock):
    seen = []
    fn = clock.function(lambda: 10, lambda: seen.append("call"))

    def sync() -> None:
        seen.append("sync")
        clock.now += 100

    assert take_turn(fn, 2, False, sync, clock) == [110, 110]
    assert seen == ["sync", "call", "sync", "call", "sync"]


def test_a_round_is_a_random_order_and_its_reverse():
    seen: list[str] = []

    def turn(name: str, ns: int) -> Callable[[], list[int]]:
        return lambda: [seen.append(name) or ns]  # type: ignore[func-returns-value]

    turns, draws = [turn("A", 1), turn("B", 2), turn("C", 3)], torch.Generator().manual_seed(0)
    orders = set()
    for _ in range(60):
        seen.clear()
        assert take_round(turns, draws) == [[1, 1], [2, 2], [3, 3]]
        assert seen == seen[::-1]
        orders.add(tuple(seen[:3]))
    assert len(orders) == 6


def test_turns_are_as_long_as_the_slowest_function_allows():
    def num_calls(*call_ns: float) -> list[tuple[int, bool]]:
        turns = plan_turns([print] * len(call_ns), numpy.array(call_ns), CPU, FakeClock())
        return [turn.args[1:3] for turn in turns]  # type: ignore[attr-defined]

    assert num_calls(1e3, 2e3) == [(4, True), (4, True)]
    assert num_calls(1e3, 1e6) == [(2, True), (2, True)]
    assert num_calls(1e3, 50e6) == [(1, True), (1, False)]
    assert num_calls(1e3) == [(4, False)]  # alone, its data is in the cache already


def test_warming_up_ends_when_two_looks_agree(clock):
    calls = iter([100_000, *[900] * 5, *[500] * 5, *[495] * 5])
    assert warm_up([clock.function(lambda: next(calls))], CPU, clock) == [495]
    assert abs(500 - 495) <= STABLE * 495 and next(calls, None) is None


def test_warming_up_gives_up_after_two_seconds(clock):
    doubling = (100_000_000 * 2**i for i in range(100))
    warm_up([clock.function(lambda: next(doubling))], CPU, clock)
    assert 2e9 < clock.now < 2**12 * 1e8


def test_threads_and_garbage_collector_are_put_back_even_after_an_error():
    threads = torch.get_num_threads()
    with pytest.raises(KeyError), undisturbed(threads + 1):
        assert torch.get_num_threads() == threads + 1 and not gc.isenabled()
        raise KeyError
    assert torch.get_num_threads() == threads and gc.isenabled()


def test_a_garbage_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with undisturbed(1):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
