"""The one timer: every speed that Prunelle reports is taken here.

Samples come in rounds (`rounds.py`), the interval of a ratio from a bootstrap over them (`bootstrap.py`). Copies
between host and device are in the figure only when the function itself makes them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from numpy.typing import NDArray

from prunelle.errors import SettingError
from prunelle.measure.bootstrap import ratio_interval
from prunelle.measure.rounds import Call, Clock, plan_turns, synchroniser, take_round, undisturbed, warm_up
from prunelle.seeds import generator as seeded

MIN_ROUNDS = 15  # 30 samples, below which a percentile interval of a median means little
EFFORTS = (1, 2, 4)  # times what was asked for, until precise
PRECISE = 0.01  # while the interval of log(ratio) is wider than +- this, more rounds are taken
REAL_DIFFERENCE = 0.03


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call, and how many times faster than the first function of the same measurement.

    ratio above 1 = faster than the first; ratio_low and ratio_high hold the truth in 95 of 100 measurements.
    All three are None when a function was timed alone, and 1 for the first itself.
    The ratio is paired, round by round, so on a noisy machine it is closer to the truth than the quotient of medians.
    """

    median_ms: float
    p95_ms: float
    p99_ms: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    num_samples: int
    threads: int


def claims_difference(timing: Timing) -> bool:
    """Whether a timing may be called faster or slower: its interval excludes 1 and the ratio is off by over 3 %.

    >>> claims_difference(Timing(1.0, 1.1, 1.2, 1.06, 1.04, 1.08, 1000, 1))
    True
    >>> claims_difference(Timing(1.0, 1.1, 1.2, 1.02, 1.01, 1.03, 1000, 1))
    False
    """
    if timing.ratio is None or timing.ratio_low is None or timing.ratio_high is None:
        return False
    excludes_one = timing.ratio_low > 1 or timing.ratio_high < 1
    return excludes_one and abs(timing.ratio - 1) > REAL_DIFFERENCE


def time_callable(
    fn: Call,
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    min_seconds: float = 5.0,
    min_samples: int = 1000,
    clock: Clock = time.perf_counter_ns,
) -> Timing:
    """Time one function alone; its ratio is None. Settings and errors as in `time_interleaved`."""
    (timing,) = time_interleaved(
        [fn], device=device, threads=threads, min_seconds=min_seconds, min_samples=min_samples, clock=clock
    )
    return timing


def time_interleaved(
    fns: Sequence[Call],
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    min_seconds: float = 5.0,
    min_samples: int = 1000,
    generator: torch.Generator | None = None,
    clock: Clock = time.perf_counter_ns,
) -> tuple[Timing, ...]:
    """Time functions in turns within one run; the first is the baseline of every ratio.

    fns: called without arguments, as often as needed; what they return is dropped.
    device: waited for before and after each call when it is a CUDA device.
    threads: PyTorch's thread count while measuring; put back afterwards, as is the garbage collector.
    min_seconds, min_samples: per function; sampling goes on until either is reached, with at least 30 samples, and
    up to 4 times as long while the interval of a ratio is wider than +- 1 %.
    generator: CPU generator that draws the order of turns and the resamples; a fixed one when None.
    clock: returns ns; another one only in tests.
    Returns one Timing per function, in order.
    Raises SettingError on no functions or on a setting that is not above 0.
    """
    _check(fns, threads, min_seconds, min_samples)
    draws = generator or seeded(0, "latency")
    sync = synchroniser(torch.device(device))
    rounds: list[list[list[int]]] = []
    with undisturbed(threads):
        turns = plan_turns(fns, warm_up(fns, sync, clock), sync, clock)
        start = clock()
        for effort in EFFORTS:
            deadline = start + effort * min_seconds * 1e9 * len(fns)
            while len(rounds) < MIN_ROUNDS or (_samples(rounds) < effort * min_samples and clock() < deadline):
                rounds.append(take_round(turns, draws))
            timings = summarise(numpy.array(rounds), threads, draws)
            if all(_is_precise(timing) for timing in timings):
                break
    return timings


def summarise(times: NDArray, threads: int, draws: torch.Generator) -> tuple[Timing, ...]:
    """One Timing per function from times (rounds, functions, calls), ns; percentiles over all calls of a function."""
    rng = numpy.random.default_rng(int(torch.randint(2**62, (), generator=draws)))
    times = numpy.maximum(times, 1)  # a clock that ticks slower than the call would give log(0)
    timings = []
    for index in range(times.shape[1]):
        mine = times[:, index]
        median, p95, p99 = (float(value) / 1e6 for value in numpy.percentile(mine, [50, 95, 99]))
        ratio = low = high = 1.0 if times.shape[1] > 1 else None
        if index > 0:
            interval = ratio_interval(times[:, 0], mine, rng)
            ratio, low, high = interval.estimate, interval.low, interval.high
        timings.append(Timing(median, p95, p99, ratio, low, high, mine.size, threads))
    return tuple(timings)


def _samples(rounds: list[list[list[int]]]) -> int:
    return len(rounds) * len(rounds[0][0])


def _is_precise(timing: Timing) -> bool:
    if timing.ratio_low is None or timing.ratio_high is None:
        return True
    return bool(numpy.log(timing.ratio_high / timing.ratio_low) <= 2 * PRECISE)


def _check(fns: Sequence[Call], threads: int, min_seconds: float, min_samples: int) -> None:
    if not fns:
        raise SettingError("timer: no function was given, at least one is needed.")
    for name, value in (("threads", threads), ("min_seconds", min_seconds), ("min_samples", min_samples)):
        if not value > 0:
            raise SettingError(f"timer: {name} is {value}, must be above 0.")
