from collections.abc import Callable
from functools import partial

import pytest

from prunelle.errors import SettingError
from prunelle.measure import latency, throughput
from prunelle.measure.throughput import best_throughput


@pytest.fixture
def at(monkeypatch) -> Callable[[Callable[[int], int]], Callable[[int], Callable[[], None]]]:
    """A maker of `at`: a call at batch b advances a fake clock by cost(b) ns."""
    now = [0]
    for name in ("time_callable", "time_interleaved"):
        monkeypatch.setattr(throughput, name, partial(getattr(latency, name), clock=lambda: now[0]))

    def make(cost: Callable[[int], int]) -> Callable[[int], Callable[[], None]]:
        def at(batch: int) -> Callable[[], None]:
            ns = cost(batch)

            def run() -> None:
                now[0] += ns

            return run

        return at

    return make


def test_stops_where_doubling_pays_less_than_5_percent(at):
    # 1 + b/4 us a batch: 800, 1333, 2000, 2667, 3200, 3556, 3765, 3879, ... thousand images a second; 3879/3765 = 1.03
    found = best_throughput(at(lambda batch: 1000 + 250 * batch))
    assert (found.batch, found.stopped_by) == (64, "gain")
    assert found.images_per_second == pytest.approx(64 / 17e-6)


def test_no_gain_at_all_keeps_a_batch_of_one(at):
    found = best_throughput(at(lambda batch: 1_000_000 * batch))
    assert (found.batch, found.images_per_second) == (1, pytest.approx(1000))


def test_stops_at_the_largest_batch_allowed(at):
    found = best_throughput(at(lambda batch: 1000), max_batch=24)
    assert (found.batch, found.stopped_by) == (16, "max_batch")


def test_stops_before_a_batch_that_would_take_too_long(at):
    found = best_throughput(at(lambda batch: 1_000_000_000), max_seconds=60)
    assert (found.batch, found.stopped_by) == (1, "time")


def test_running_out_of_memory_ends_the_search(at):
    def cost(batch: int) -> int:
        if batch > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return 1000

    found = best_throughput(at(cost))
    assert (found.batch, found.stopped_by) == (4, "memory")


def test_any_other_error_comes_through(at):
    def cost(batch: int) -> int:
        if batch > 1:
            raise RuntimeError("shapes cannot be multiplied")
        return 1000

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        best_throughput(at(cost))


def test_refuses_a_batch_of_none(at):
    with pytest.raises(SettingError, match="max_batch 0"):
        best_throughput(at(lambda batch: 1), max_batch=0)
