"""What a search found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunelle.fit.budget import Budget
from prunelle.fit.candidates import Candidate
from prunelle.fit.entry import Entry
from prunelle.measure.card import Card


@dataclass(frozen=True)
class Place:
    """Where and how a search runs.

    minutes: all of it. formats: that may be shipped, None takes all installed. threads: of trainings, None as many as
    pay. model, data: the words that named them, for what is written; words: further ones of the command, such as
    --weights FILE, that make it this network and these splits. candidate: only this one. python: whether it began in
    Python, where words are the first arguments.
    """

    out: Path
    minutes: float = 20.0
    formats: tuple[str, ...] | None = None
    threads: int | None = None
    seed: int = 0
    model: str = "model"
    data: str | None = None
    candidate: Candidate | None = None
    words: tuple[str, ...] = ()
    python: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was found. chosen: the entry that was shipped, whose files are in `folder`. met: whether it keeps every
    limit, its drop on the test split. nearest: limit -> the entry that misses it least. top1, top1_dense: on the test
    split. per_class: see measure.accuracy.flips. cards: dense
    and shipped."""

    budget: Budget
    chosen: Entry
    met: bool
    folder: Path
    entries: tuple[Entry, ...]
    nearest: dict[str, Entry]
    top1: float
    top1_dense: float
    test_drop: float
    num_test: int
    per_class: list[dict[str, Any]]
    cards: dict[str, Card]
    reference: str
    reference_ms: float
    spent: float

    @property
    def missed(self) -> dict[str, float]:
        """Limit -> what was used of it, of those that are not kept; the drop is that of the test split."""
        used = self.budget.used(dataclasses.replace(self.chosen, drop=self.test_drop))
        return {name: value for name, value in used.items() if value > 1 + 1e-9}
