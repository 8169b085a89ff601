"""Unit scores and an amount become what is removed. Every set keeps its balance, every layer its floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from prunelle.errors import ModelError, SettingError
from prunelle.graph.sets import Set, Tied
from prunelle.graph.ties import Removed

UnitScores = NDArray[np.float64]
ChannelScope = Callable[[Tied, UnitScores, float, "Limits"], Removed]
"""(ties, (labels,) scores by unit, share to remove, limits) -> (labels,) True by unit that goes."""
STEPS = 24


@dataclass(frozen=True)
class Limits:
    """floor: channels that every layer keeps at least. multiple: what kept widths are rounded up to."""

    floor: int = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.floor < 1 or self.multiple < 1:
            raise SettingError(f"channels: floor is {self.floor}, multiple {self.multiple}; both must be 1 or more.")


def per_set(tied: Tied, scores: UnitScores, amount: float, limits: Limits) -> Removed:
    """The same share of every set of tied channels: those with the lowest scores of their set."""
    return chosen(tied, scores, [amount] * len(tied.sets), limits)


def over_all_sets(tied: Tied, scores: UnitScores, amount: float, limits: Limits) -> Removed:
    """One threshold for all sets: the share `amount` of all units goes, lowest scores first."""
    everyone = np.concatenate([one.units for one in tied.sets])
    order = everyone[np.argsort(scores[everyone], kind="stable")]
    low = np.zeros(len(scores), dtype=bool)
    low[order[: int(amount * len(order) + 1e-9)]] = True
    return chosen(tied, scores, [float(low[one.units].mean()) for one in tied.sets], limits)


def per_layer(tied: Tied, scores: UnitScores, amount: float, limits: Limits) -> Removed:
    """The same share of every layer, also where layers of one set overlap only in part."""
    removed = np.zeros(len(scores), dtype=bool)
    for one in tied.sets:
        for part in parts(tied, one):
            remove(removed, part, scores, amount, len(one.cells), limits.floor)
    return finished(tied, scores, removed, limits)


def parts(tied: Tied, one: Set) -> list[NDArray[np.int64]]:
    """The cells of a set, each split into units that belong to just the same layers."""
    table = np.stack([np.isin(one.units, tied.components.units(p.labels)) for p in one.producers], 1)
    _, pattern = np.unique(table, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    found = [
        cell[pattern[np.searchsorted(one.units, cell)] == each] for cell in one.cells for each in np.unique(pattern)
    ]
    return [part for part in found if len(part)]


def chosen(tied: Tied, scores: UnitScores, amounts: list[float], limits: Limits) -> Removed:
    """A share of each set, in their order, the lowest scores of each cell first."""
    removed = np.zeros(len(scores), dtype=bool)
    for one, amount in zip(tied.sets, amounts, strict=True):
        for cell in one.cells:
            remove(removed, cell, scores, amount, len(one.cells), limits.floor)
    return finished(tied, scores, removed, limits)


def remove(
    removed: Removed, cell: NDArray[np.int64], scores: UnitScores, amount: float, num_cells: int, floor: int
) -> None:
    """Mark the lowest of a cell, in place."""
    keep = len(cell) - int(amount * len(cell) + 1e-9)
    keep = min(max(keep, -(-floor // num_cells), 1), len(cell))
    order = np.argsort(scores[cell], kind="stable")
    removed[cell[order[: len(cell) - keep]]] = True


def finished(tied: Tied, scores: UnitScores, removed: Removed, limits: Limits) -> Removed:
    """With floors, multiples and balances kept."""
    removed = rounded(tied, scores, floored(tied, scores, removed, limits.floor), limits.multiple)
    return rebalanced(tied, scores, removed)


def rounded(tied: Tied, scores: UnitScores, removed: Removed, multiple: int) -> Removed:
    """Give back the best until every layer's width is a multiple, also where layers of one set overlap in part."""
    removed = removed.copy()
    for one in tied.sets:
        step = multiple // gcd(multiple, len(one.cells))
        for part in parts(tied, one) if step > 1 else ():
            kept = int((~removed[part]).sum())
            give_back(removed, part, scores, min(-(-kept // step) * step, len(part)) - kept)
    return removed


def floored(tied: Tied, scores: UnitScores, removed: Removed, floor: int) -> Removed:
    """Give back the best of every layer that would keep fewer channels than the floor."""
    removed = removed.copy()
    for one in tied.sets:
        for producer in one.producers:
            units = tied.components.units(producer.labels)
            give_back(removed, units, scores, min(floor, len(units)) - int((~removed[units]).sum()))
    return removed


def rebalanced(tied: Tied, scores: UnitScores, removed: Removed) -> Removed:
    """Give back the best of what a part lost more of than its partners; a set that cannot be balanced stays whole."""
    removed = removed.copy()
    for _ in range(STEPS):
        clean = True
        for balance in tied.state.balances:
            units = [tied.components.units(part) for part in balance.parts]
            lost = [int(removed[u].sum()) for u in units]
            if len(set(lost)) == 1:
                continue
            clean = False
            for each, count in zip(units, lost, strict=True):
                give_back(removed, each, scores, count - min(lost))
        if clean:
            return removed
    for balance in tied.state.balances:
        units = [tied.components.units(part) for part in balance.parts]
        if len({int(removed[u].sum()) for u in units}) > 1:
            removed[np.unique(np.concatenate(units))] = False
    return rebalanced(tied, scores, removed)


def give_back(removed: Removed, units: NDArray[np.int64], scores: UnitScores, count: int) -> None:
    """Keep so many removed indices of a part after all, the best first."""
    members, counts = np.unique(units[removed[units]], return_counts=True)
    for position in np.argsort(-scores[members], kind="stable"):
        if count <= 0:
            return
        removed[members[position]] = False
        count -= int(counts[position])


def reaching(
    tied: Tied,
    scores: UnitScores,
    scope: ChannelScope,
    limits: Limits,
    target: float,
    share: Callable[[Removed], float],
    what: str,
) -> Removed:
    """The smallest cut of which `share` is at most `target`, by bisection of the amount.

    share: removed -> what is left of something, 1 for nothing removed. Raises ModelError when even the largest cut
    leaves more, telling how much.
    """
    low, high = 0.0, 1.0
    best = scope(tied, scores, high, limits)
    if share(best) > target:
        raise ModelError(
            f"channels: at most {1 - share(best):.1%} of the {what} can go with whole channels, "
            f"{1 - target:.1%} were asked for; ask for less, or lower the floor."
        )
    for _ in range(STEPS):
        middle = (low + high) / 2
        removed = scope(tied, scores, middle, limits)
        if share(removed) <= target:
            high, best = middle, removed
        else:
            low = middle
    return best
