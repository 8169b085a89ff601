"""The one timer: every speed that Prunelle reports is taken here.

A measurement is a number of rounds. In a round every function has two turns, in a random order and then in the
reverse of it (A B B A), so a machine that grows slower does not favour the one that came first. A turn is one call,
or several when calls are short, and then one call before them is not counted, because it finds the other function's
data in the cache. Copies between host and device are in the figure only when the function itself makes them.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy
import torch
from numpy.typing import NDArray

from prunelle.errors import SettingError
from prunelle.measure.bootstrap import ratio_interval
from prunelle.seeds import generator as seeded

Call = Callable[[], object]
Clock = Callable[[], int]

MIN_ROUNDS = 15  # 30 samples, below which a percentile interval of a median means little
TURN_NS = 2_000_000  # shorter than a scheduler's time slice, so a burst seldom hits the turns of one side only
MAX_TURN_CALLS = 4
WARM_UP_NS = 2_000_000_000
STABLE = 0.05  # warm when two looks at the median differ by less
PRECISE = 0.01  # half width of the interval of log(ratio) beyond which more rounds are taken
EFFORTS = (1, 2, 4)  # times what was asked for, until precise
REAL_DIFFERENCE = 0.03


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call, and how many times faster than the first function of the same measurement.

    ratio above 1 = faster than the first; ratio_low, ratio_high: its 95 % interval; None when it was timed alone.
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
    """Whether a timing may be called faster or slower: its interval excludes 1 and the ratio is off by over 3 %."""
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
    Returns one Timing per function, in order.
    Raises SettingError on no functions or on a setting that is not above 0.
    """
    _check(fns, threads, min_seconds, min_samples)
    draws = generator or seeded(0, "latency")
    sync = _synchroniser(torch.device(device))
    rounds: list[list[list[int]]] = []
    with _undisturbed(threads):
        turn = partial(_turn, num_calls=_warm_up(fns, sync, clock), sync=sync, clock=clock)
        start = clock()
        for effort in EFFORTS:
            deadline = start + effort * min_seconds * 1e9 * len(fns)
            while len(rounds) < MIN_ROUNDS or (_samples(rounds) < effort * min_samples and clock() < deadline):
                rounds.append(_round(fns, turn, draws))
            timings = _summary(numpy.array(rounds), threads, draws)
            if all(_is_precise(timing) for timing in timings):
                break
    return timings


def _check(fns: Sequence[Call], threads: int, min_seconds: float, min_samples: int) -> None:
    if not fns:
        raise SettingError("timer: no function was given, at least one is needed.")
    for name, value in (("threads", threads), ("min_seconds", min_seconds), ("min_samples", min_samples)):
        if not value > 0:
            raise SettingError(f"timer: {name} is {value}, must be above 0.")


def _synchroniser(device: torch.device) -> Callable[[], None] | None:
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else None


@contextmanager
def _undisturbed(threads: int) -> Iterator[None]:
    """Hold the thread count, and keep the garbage collector out of the samples; put both back."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    gc.collect()
    gc.disable()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


def _turn(fn: Call, num_calls: int, sync: Callable[[], None] | None, clock: Clock) -> list[int]:
    """Nanoseconds of each of `num_calls` calls in a row."""
    if num_calls > 1:
        fn()
    if sync is not None:
        sync()
    times = []
    for _ in range(num_calls):
        start = clock()
        fn()
        if sync is not None:
            sync()
        times.append(clock() - start)
    return times


def _round(fns: Sequence[Call], turn: Callable[[Call], list[int]], draws: torch.Generator) -> list[list[int]]:
    """The times of each function, in the order of `fns`, over one random order and its reverse."""
    order = torch.randperm(len(fns), generator=draws).tolist()
    times: list[list[int]] = [[] for _ in fns]
    for index in [*order, *reversed(order)]:
        times[index] += turn(fns[index])
    return times


def _samples(rounds: list[list[list[int]]]) -> int:
    return len(rounds) * len(rounds[0][0])


def _warm_up(fns: Sequence[Call], sync: Callable[[], None] | None, clock: Clock) -> int:
    """Call every function until its median settles or two seconds have gone; returns how many calls fill a turn."""
    for fn in fns:
        fn()  # compilation and lazy loading happen here, outside the two seconds
    start = clock()
    before = numpy.full(len(fns), numpy.inf)
    while True:
        now = numpy.array([numpy.median(_turn(fn, 5, sync, clock)) for fn in fns])
        if numpy.all(abs(now - before) <= STABLE * now) or clock() - start > WARM_UP_NS:
            return int(numpy.clip(TURN_NS // max(now.max(), 1), 1, MAX_TURN_CALLS))
        before = now


def _summary(times: NDArray, threads: int, draws: torch.Generator) -> tuple[Timing, ...]:
    """times: (rounds, functions, calls) in ns."""
    rng = numpy.random.default_rng(int(torch.randint(2**62, (), generator=draws)))
    timings = []
    for index in range(times.shape[1]):
        mine = numpy.maximum(times[:, index], 1)
        median, p95, p99 = (float(value) / 1e6 for value in numpy.percentile(mine, [50, 95, 99]))
        ratio = low = high = 1.0 if times.shape[1] > 1 else None
        if index > 0:
            interval = ratio_interval(numpy.maximum(times[:, 0], 1), mine, rng)
            ratio, low, high = interval.estimate, interval.low, interval.high
        timings.append(Timing(median, p95, p99, ratio, low, high, mine.size, threads))
    return tuple(timings)


def _is_precise(timing: Timing) -> bool:
    if timing.ratio_low is None or timing.ratio_high is None:
        return True
    return bool(numpy.log(timing.ratio_high / timing.ratio_low) <= 2 * PRECISE)
