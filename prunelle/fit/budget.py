"""What a file may cost, and which of two files is the better one under it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from prunelle.errors import SettingError
from prunelle.fit.entry import Entry

LIMITS = ("ms", "kb", "drop")
POINTS = 5.0
"""Too many, that weigh as much as all of another limit once more."""


@dataclass(frozen=True)
class Budget:
    """The limits; None asks nothing.

    max_ms: milliseconds a call on one image. max_ratio: the same as a share of the dense network's time in the
    reference runtime; one of the two. max_kb: thousands of bytes of what running needs. max_drop: points of the task's
    metric (hundredths) below the dense network. Raises SettingError.
    """

    max_ms: float | None = None
    max_ratio: float | None = None
    max_kb: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_ms is not None and self.max_ratio is not None:
            raise SettingError(f"budget: max_ms is {self.max_ms} and max_ratio {self.max_ratio}; give one of the two.")
        for name, value, least in (
            ("max_ms", self.max_ms, 0),
            ("max_ratio", self.max_ratio, 0),
            ("max_kb", self.max_kb, 0),
            ("max_drop", self.max_drop, -100),
        ):
            if value is not None and not (least < value < math.inf):
                raise SettingError(f"budget: {name} is {value}, must be a number above {least}.")
        if (self.max_ms, self.max_ratio, self.max_kb, self.max_drop) == (None,) * 4:
            raise SettingError("budget: no limit was given; give max_ms, max_kb or max_drop.")

    @property
    def has_time(self) -> bool:
        return self.max_ms is not None or self.max_ratio is not None

    def used(self, entry: Entry) -> dict[str, float]:
        """Limit -> what the entry takes of it: 1 is all that is allowed. A drop counts as 1 + a fifth of the points
        too many: five points weigh as much as twice the time or size allowed."""
        found: dict[str, float] = {}
        if self.max_ms is not None:
            found["ms"] = entry.median_ms / self.max_ms
        if self.max_ratio is not None:
            found["ms"] = entry.share / self.max_ratio
        if self.max_kb is not None:
            found["kb"] = entry.size_bytes / 1e3 / self.max_kb
        if self.max_drop is not None:
            found["drop"] = 1 + (entry.drop - self.max_drop) / POINTS
        return found

    def excess(self, entry: Entry, limits: Iterable[str] = LIMITS) -> float:
        """How far an entry is over these limits, summed; 0 where it keeps them.

        >>> one = Entry.example(median_ms=3.0, size_bytes=50_000, drop=0.7)
        >>> Budget(max_ms=2.0, max_kb=100, max_drop=0.5).excess(one)
        0.54
        """
        used = self.used(entry)
        return round(sum(max(0.0, used[name] - 1) for name in limits if name in used), 9)

    def met(self, entry: Entry) -> bool:
        return self.excess(entry) == 0

    def rank(self, entry: Entry) -> tuple:
        """What is lower is better. First those that keep all limits, else those nearest to them.

        Among those that keep them: with a limit of time or size, the most accurate, then the cheapest; with a limit of
        accuracy alone, the fastest, those first whose drop keeps the limit by one standard error, as on the test split
        it may come out higher.
        """
        over = self.excess(entry)
        cost = entry.median_ms * entry.size_bytes
        if over:
            return (1, over, 0.0, cost, entry.name)
        if self.has_time or self.max_kb is not None:
            return (0, 0.0, round(-entry.val_top1, 9), cost, entry.name)
        near = entry.drop + entry.drop_error > (self.max_drop or 0.0)
        return (0, float(near), entry.median_ms, cost, entry.name)


def budget_for(alone: bool, **limits: float | None) -> Budget:
    """The limits of a search; a candidate that is made alone needs none, and may lose what it likes.

    limits: as Budget takes them. Raises SettingError.
    """
    if alone and all(value is None for value in limits.values()):
        return Budget(max_drop=100.0)
    return Budget(**limits)


def best(budget: Budget, entries: Iterable[Entry]) -> Entry | None:
    """The best of those that are fit to be shipped, None where there are none."""
    return min((one for one in entries if one.fit), key=budget.rank, default=None)


def nearest(budget: Budget, entries: Iterable[Entry]) -> dict[str, Entry]:
    """Limit -> the entry that misses that limit by least while it keeps the others, or by least in all where none
    keeps the others. Limits that were not given are left out."""
    known = [one for one in entries if one.fit]
    found: dict[str, Entry] = {}
    for limit in LIMITS:
        if not known or limit not in budget.used(known[0]):
            continue
        others = [name for name in LIMITS if name != limit]
        keeping = [one for one in known if budget.excess(one, others) == 0]
        key = (lambda one: budget.used(one)[limit]) if keeping else budget.excess  # noqa: B023
        found[limit] = min(keeping or known, key=lambda one: (key(one), one.name))
    return found


def front(entries: Iterable[Entry]) -> list[Entry]:
    """Those that no other beats: no other is at least as accurate, as fast and as small, and better in one.

    >>> a, b = Entry.example(median_ms=1.0, val_top1=0.9), Entry.example(median_ms=2.0, val_top1=0.8)
    >>> front([a, b]) == [a]
    True
    """
    known = [one for one in entries if one.fit]
    places = [(-one.val_top1, one.median_ms, one.size_bytes) for one in known]
    return [
        one
        for one, mine in zip(known, places, strict=True)
        if not any(all(o <= m for o, m in zip(other, mine, strict=True)) and other != mine for other in places)
    ]
