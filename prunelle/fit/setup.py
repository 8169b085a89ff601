"""What a search is told, and the small files where size counts."""

from __future__ import annotations

from dataclasses import dataclass

from prunelle.fit.budget import Budget
from prunelle.fit.candidates import Cut, cuts_to_try, zeros_that_fit

TIGHT = 2.0
"""Times the size allowed, that one byte a weight must be over, so that only small files of cuts are looked at."""
VALUES = (32, 16)
"""Shared values tried where size counts, and 4 bits a weight beside them."""
SMALL = ("packed-native", "packed")


@dataclass(frozen=True)
class Setup:
    """What a search is told. files: (format, precision) that may be shipped and are installed; seconds: all its time;
    epoch_seconds: of one training epoch, from a pilot. num_weights: that can be pruned; num_others: all other
    numbers of the network."""

    budget: Budget
    files: tuple[tuple[str, str], ...]
    seconds: float
    epoch_seconds: float
    num_weights: int = 0
    num_others: int = 0

    @property
    def tight(self) -> bool:
        """Whether only the small file can fit: one byte a weight is far too many."""
        return self.budget.max_kb is not None and self.num_weights > TIGHT * 1e3 * self.budget.max_kb

    def cuts(self) -> list[tuple[Cut, ...]]:
        """What is looked at in one shot."""
        budget = self.budget
        by_size = budget.max_kb is not None
        room = 1e3 * (budget.max_kb or 0.0) - 2 * self.num_others
        zeros = zeros_that_fit(self.num_weights, room) if by_size else ()
        return cuts_to_try(by_size, budget.has_time or not by_size, zeros)


def small_of(setup: Setup) -> str | None:
    """The small file, where size counts or no other may be shipped: one that runs fast where time counts too."""
    names = [name for name, _ in setup.files if name in SMALL]
    by_size = setup.budget.max_kb is not None
    if not by_size and len(names) < len(setup.files):
        return None
    wanted = SMALL if setup.budget.has_time or not by_size else SMALL[::-1]
    return next((name for name in wanted if name in names), None)
