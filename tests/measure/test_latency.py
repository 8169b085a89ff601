import itertools

import numpy
import pytest
import torch

from prunelle.errors import SettingError
from prunelle.measure.latency import Timing, claims_difference, summarise, time_callable, time_interleaved


class FakeClock:
    """Stands still but for the functions it makes; each call of one takes the next of its times, ns."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def function(self, *ns: int):
        times = itertools.cycle(ns)

        def run() -> None:
            self.now += next(times)

        return run


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_percentiles_of_1_to_100_ms():
    times = numpy.arange(1, 101).reshape(50, 1, 2) * 1_000_000
    (timing,) = summarise(times, 1, draws())
    assert (timing.median_ms, timing.p95_ms, timing.p99_ms) == pytest.approx((50.5, 95.05, 99.01))
    assert timing.num_samples == 100


def test_ratio_is_time_of_the_first_over_time_of_this_one(clock):
    fns = [clock.function(3000), clock.function(2000), clock.function(6000)]
    first, faster, slower = time_interleaved(fns, threads=1, clock=clock)
    assert (first.ratio, first.ratio_low, first.ratio_high) == (1, 1, 1)
    assert (faster.ratio, faster.ratio_low, faster.ratio_high) == pytest.approx((1.5, 1.5, 1.5))
    assert slower.ratio == pytest.approx(0.5)
    assert [timing.median_ms for timing in (first, faster, slower)] == pytest.approx([0.003, 0.002, 0.006])
    assert [timing.num_samples for timing in (first, faster, slower)] == [1000, 1000, 1000]


def test_alone_has_no_ratio(clock):
    timing = time_callable(clock.function(5000), clock=clock)
    assert timing == Timing(0.005, 0.005, 0.005, None, None, None, 1000, 1)


def test_sampling_ends_when_the_seconds_are_over(clock):
    timing = time_callable(clock.function(50_000_000), clock=clock)  # 20 calls a second, 5 seconds
    assert timing.num_samples == 100


def test_never_fewer_than_30_samples(clock):
    timing = time_callable(clock.function(2_000_000_000), clock=clock)
    assert timing.num_samples == 30


def test_a_wide_interval_asks_for_four_times_the_samples_and_no_more(clock):
    noise = numpy.random.default_rng(0).lognormal(12, 3, 4999).astype(int).tolist()
    fns = [clock.function(*noise), clock.function(*noise[::-1])]
    timings = time_interleaved(fns, min_samples=400, min_seconds=1e6, clock=clock)
    assert {timing.num_samples for timing in timings} == {1600}


def test_drift_that_hits_both_sides_cancels(clock):
    fns = [clock.function(*range(10_000, 40_000, 3)), clock.function(*range(10_000, 40_000, 3))]
    _, timing = time_interleaved(fns, clock=clock)
    assert timing.ratio == pytest.approx(1, abs=0.005)
    assert not claims_difference(timing)


def test_calls_that_were_preempted_do_not_move_median_or_ratio(clock):
    fns = [clock.function(1000), clock.function(*[1000] * 12, 4_000_000)]
    _, timing = time_interleaved(fns, clock=clock)
    assert (timing.ratio, timing.median_ms) == (1, 0.001)
    assert timing.p99_ms > 1


def test_one_generator_state_gives_one_order_and_one_interval():
    def measured(seed: int) -> tuple[Timing, ...]:
        clock = FakeClock()
        noise = numpy.random.default_rng(0).integers(1000, 2000, 4999).tolist()
        fns = [clock.function(*noise), clock.function(*noise[::-1])]
        return time_interleaved(fns, generator=draws(seed), clock=clock)

    assert measured(1) == measured(1)
    assert measured(1) != measured(2)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "claimed"),
    [
        (1.05, 1.01, 1.09, True),
        (0.95, 0.91, 0.99, True),
        (1.05, 0.99, 1.11, False),
        (1.02, 1.01, 1.03, False),
        (1.00, 1.00, 1.00, False),
        (None, None, None, False),
    ],
)
def test_a_difference_needs_an_interval_without_1_and_3_percent(ratio, low, high, claimed):
    assert claims_difference(Timing(1, 1, 1, ratio, low, high, 1000, 1)) is claimed


def test_refusals_say_what_came():
    with pytest.raises(SettingError, match="no function was given"):
        time_interleaved([])
    with pytest.raises(SettingError, match="threads is 0, must be above 0"):
        time_callable(print, threads=0)
    with pytest.raises(SettingError, match="min_seconds is nan"):
        time_callable(print, min_seconds=float("nan"))


def test_real_functions_leave_the_thread_count_alone():
    before = torch.get_num_threads()
    seen = set()
    timing = time_callable(lambda: seen.add(torch.get_num_threads()), threads=1, min_samples=30)
    assert seen == {1} and torch.get_num_threads() == before
    assert timing.num_samples >= 30 and 0 < timing.median_ms <= timing.p95_ms <= timing.p99_ms


@pytest.mark.gpu
def test_gpu_work_is_waited_for():
    matrix = torch.randn(4096, 4096, device="cuda")
    small = matrix[:64, :64].contiguous()
    large, less = time_interleaved([lambda: matrix @ matrix, lambda: small @ small], device="cuda", min_seconds=1)
    assert less.ratio is not None and less.ratio > 3 and large.median_ms > less.median_ms
