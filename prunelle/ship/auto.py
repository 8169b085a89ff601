"""Which of several callables is the fastest here? Measured until decided, or until they are known to tie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prunelle.measure.latency import Timing, time_interleaved
from prunelle.measure.rounds import Call

NEAR = 1.1
"""Times the fastest median: what is slower at the first look is out."""
TIE = 0.01
LOOKS = 4


@dataclass(frozen=True)
class Decision:
    """winner: the fastest. tied: names that no look could tell from it. timings: of the first look, which all were in;
    the first of them is what ratios are taken to. looks: how many it took."""

    winner: str
    tied: tuple[str, ...]
    timings: dict[str, Timing]
    looks: int


def fastest(
    calls: Mapping[str, Call],
    baseline: str,
    *,
    threads: int = 1,
    min_seconds: float = 5.0,
    min_samples: int = 1000,
) -> Decision:
    """Time all in turns, then the fastest and those near it again, with more samples each time, until the interval of
    every ratio leaves out 1 or lies within 1 % of it.

    calls: by name; baseline: which of them ratios are taken to, never the winner while there is another.
    Raises as `measure.latency.time_interleaved`.
    """
    names = [baseline, *(name for name in calls if name != baseline)]
    effort = {"threads": threads, "min_seconds": min_seconds}
    found = time_interleaved([calls[name] for name in names], min_samples=min_samples, **effort)  # type: ignore[arg-type]
    timings = dict(zip(names, found, strict=True))
    racing = sorted(names[1:] or names, key=lambda name: timings[name].median_ms)
    winner = racing[0]
    open_ = [name for name in racing[1:] if timings[name].median_ms <= NEAR * timings[winner].median_ms]
    looks = 1
    while open_ and looks < LOOKS:
        look = time_interleaved(
            [calls[winner], *(calls[name] for name in open_)],
            min_samples=min_samples * 2 ** (looks - 1),
            **effort,  # type: ignore[arg-type]
        )
        looks += 1
        seen = dict(zip(open_, look[1:], strict=True))
        before, (winner, open_) = winner, after(winner, seen)
        if winner == before and all(is_tie(seen[name]) for name in open_):
            break
    return Decision(winner, tuple(open_), timings, looks)


def after(winner: str, seen: Mapping[str, Timing]) -> tuple[str, list[str]]:
    """(fastest, those that are not told from it) when each of `seen` was timed against `winner`."""
    ahead = [name for name, timing in seen.items() if (timing.ratio_low or 1) > 1]
    if not ahead:
        return winner, [name for name, timing in seen.items() if (timing.ratio_high or 1) >= 1]
    best = max(ahead, key=lambda name: seen[name].ratio or 1)
    floor = seen[best].ratio_low or 1
    return best, [name for name, timing in seen.items() if name != best and (timing.ratio_high or 1) >= floor]


def is_tie(timing: Timing) -> bool:
    """Whether the interval of a ratio lies within 1 % of 1.

    >>> is_tie(Timing(1.0, 1.0, 1.0, 1.001, 0.995, 1.005, 1000, 1))
    True
    """
    return (timing.ratio_low or 1) >= 1 - TIE and (timing.ratio_high or 1) <= 1 + TIE
