"""Labels, one per index of an axis: which must live or die together, which must stay, and why.

Label 0 is a fixed index: it always stays. Joins are collected as arrays and resolved at once, because eager
bookkeeping per channel is what makes large models slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Removed = NDArray[np.bool_]
FIXED = 0


@dataclass
class Ties:
    """Grows while a graph is walked; `components` tells what came of it."""

    num_labels: int = 1
    joins: list[tuple[Labels, Labels]] = field(default_factory=list)
    pins: list[tuple[Labels, str]] = field(default_factory=list)

    def fresh(self, size: int) -> Labels:
        """Labels that nothing else has."""
        made = np.arange(self.num_labels, self.num_labels + size, dtype=np.int64)
        self.num_labels += size
        return made

    def join(self, first: Labels, second: Labels, why: str) -> None:
        """Index by index, both live or both die; beside a fixed index the other one is pinned, for `why`.

        first, second: (n,).
        """
        if first is second:
            return
        fixed = (first == FIXED) | (second == FIXED)
        if fixed.any():
            self.pin(np.maximum(first, second)[fixed], why)
            first, second = first[~fixed], second[~fixed]
        if first.size:
            self.joins.append((first, second))

    def pin(self, labels: Labels, why: str) -> None:
        """These stay, for `why`."""
        labels = labels[labels != FIXED]
        if labels.size:
            self.pins.append((labels, why))

    def components(self) -> Components:
        """Joins resolved: which labels are one unit, and which units are pinned."""
        root = connected(self.num_labels, self.joins)
        reasons: dict[int, list[str]] = {}
        pinned = np.zeros(self.num_labels, dtype=bool)
        pinned[FIXED] = True
        for labels, why in self.pins:
            hit = np.unique(root[labels])
            pinned[hit] = True
            for unit in hit.tolist():
                said = reasons.setdefault(unit, [])
                if why not in said:
                    said.append(why)
        return Components(root, pinned, reasons)


@dataclass(frozen=True)
class Components:
    """root: (labels,) the unit of each label. pinned: (labels,) by unit. reasons: unit -> why it is pinned."""

    root: Labels
    pinned: NDArray[np.bool_]
    reasons: dict[int, list[str]]

    def units(self, labels: Labels) -> Labels:
        """The unit of each label, 0 where it is pinned."""
        units = self.root[labels]
        return np.where(self.pinned[units], FIXED, units)


def connected(size: int, joins: list[tuple[Labels, Labels]]) -> Labels:
    """(size,) the smallest member of everybody's component. joins: pairs of (n,) arrays.

    >>> connected(4, [(np.array([1]), np.array([3]))]).tolist()
    [0, 1, 2, 1]
    """
    parent = np.arange(size, dtype=np.int64)
    if not joins:
        return parent
    first = np.concatenate([a for a, _ in joins])
    second = np.concatenate([b for _, b in joins])
    while True:
        a, b = parent[first], parent[second]
        apart = a != b
        if not apart.any():
            return parent
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
