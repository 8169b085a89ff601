"""A path of cuts, from nothing to as much as can go, fine enough to stop at any cost: layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunelle.graph.costs import macs
from prunelle.graph.sets import Tied
from prunelle.prune.channel_select import ChannelScope, Limits, Removed, UnitScores, parts

STAGES = 64
"""Amounts at which the scope is asked; between two of them one part after another follows."""
GAP = 0.01
"""Neighbours further apart than this share of the multiply-adds get cuts between them."""

Change = Callable[[Removed, "Move"], Removed]


@dataclass(frozen=True)
class CutPath:
    """cuts: (labels,) each, True by unit that goes. shares: of the multiply-adds that each leaves."""

    cuts: tuple[Removed, ...]
    shares: tuple[float, ...]

    def between(self, wanted: float, low: float, high: float) -> Removed | None:
        """The cut that leaves most nearly the share `wanted`, of those strictly between low and high; None: no such."""
        inside = [number for number, share in enumerate(self.shares) if low < share < high]
        return self.cuts[min(inside, key=lambda n: abs(self.shares[n] - wanted))] if inside else None


@dataclass(frozen=True)
class Move:
    """What one step does to one part of a set. before, after: (n,) what of it has gone. worth: mean score of what the
    step takes."""

    part: NDArray[np.int64]
    before: Removed
    after: Removed
    worth: float


def cut_path(tied: Tied, scores: UnitScores, scope: ChannelScope, limits: Limits) -> CutPath:
    """The cuts that `scope` makes for rising amounts, and between two of them those of some parts only: those first
    whose next channels score lowest.

    Widths in multiples move all layers of a kind at once, and a residual trunk is a large share of the network by
    itself. Where one part leaves a gap, other parts go ahead of it, or get back what they lost last.
    """
    size = float(macs(tied, np.zeros(len(scores), dtype=bool)))
    moves = moves_of(tied, scores, scope, limits)
    line, beside = [(np.zeros(len(scores), dtype=bool), 1.0)], list[tuple[Removed, float]]()

    def follow(cut: Removed, through: Iterable[Move], change: Change, low: float, high: float) -> None:
        """Keep the cuts along these changes while they lie between."""
        for move in through:
            cut = change(cut, move)
            share = macs(tied, cut) / size
            if not low < share < high:
                return
            beside.append((cut, share))

    for number, move in enumerate(moves):
        before, above = line[-1]
        after = taken(before, move)
        below = macs(tied, after) / size
        line.append((after, below))
        if above - below > GAP:
            others = [each for each in moves[number + 1 :] if each.part is not move.part]
            follow(before, others, taken, below, above)
            last = {id(each.part): each for each in moves[:number] if each.part is not move.part}
            follow(after, sorted(last.values(), key=lambda each: -each.worth), returned, below, above)
    return CutPath(*map(tuple, zip(*line, *beside, strict=True)))


def moves_of(tied: Tied, scores: UnitScores, scope: ChannelScope, limits: Limits) -> list[Move]:
    """In the order of the path. Parts of a set that must stay balanced move together."""
    sets = [parts(tied, one) if len(one.cells) == 1 else [one.units] for one in tied.sets]
    gone, moves = np.zeros(len(scores), dtype=bool), list[Move]()
    for stage in range(1, STAGES + 1):
        goal = scope(tied, scores, stage / STAGES, limits) | gone
        moving = [part for each in sets for part in each if (goal[part] & ~gone[part]).any()]
        worth = [float(scores[part][goal[part] & ~gone[part]].mean()) for part in moving]
        order = np.argsort(worth, kind="stable").tolist()
        moves += [Move(moving[n], gone[moving[n]], goal[moving[n]], worth[n]) for n in order]
        gone = goal
    return moves


def taken(removed: Removed, move: Move) -> Removed:
    """After a move."""
    changed = removed.copy()
    changed[move.part] |= move.after
    return changed


def returned(removed: Removed, move: Move) -> Removed:
    """Before a move."""
    changed = removed.copy()
    changed[move.part] &= move.before
    return changed
