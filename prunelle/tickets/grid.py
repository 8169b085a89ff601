"""The grid of a search as data: masks x rewinding points x seeds, and the controls beside them.

A member is one training. Its mask comes from its parent, a member too: so what stands on what is a pure function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prunelle.errors import SettingError

Variant = Literal["dense", "ticket", "random", "shuffled", "reinit", "lr", "finetune", "twin"]
CONTROLS = ("random", "shuffled", "reinit", "lr", "finetune", "twin")


@dataclass(frozen=True, order=True)
class Member:
    """One training.

    kept: share of the prunable weights that its mask keeps; 1 for the dense network. rewind: the update of the dense
    run whose weights it goes back to. chain: the shares kept before, largest first, when every mask is chosen from
    what the one before became (iterative pruning); empty when all are chosen from the dense network (one shot).

    variant: dense; ticket (weights of the rewinding point, mask by magnitude); random (the same weights, in every
    layer as many kept at random); shuffled (in every unit as many kept at random); reinit (the ticket's mask, fresh
    weights, trained from the start); lr (the ticket's mask on the weights it was chosen from, learning rate rewound);
    finetune (the same at a small constant rate); twin (the ticket in another order of the data).
    """

    seed: int
    kept: float
    rewind: int
    variant: Variant = "dense"
    chain: tuple[float, ...] = ()


@dataclass(frozen=True)
class Grid:
    """kept: shares, falling. rewinds: updates of the dense run, rising. iterative: masks from the ticket before, else
    from the dense network. controls: variants trained beside each ticket."""

    kept: tuple[float, ...]
    rewinds: tuple[int, ...]
    seeds: tuple[int, ...]
    iterative: bool = False
    controls: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.kept, self.kept[1:], strict=False))
        if not self.kept or not falling or not all(0 < share < 1 for share in self.kept):
            raise SettingError(f"grid: kept is {self.kept}, must be shares between 0 and 1, each below the one before.")
        rising = all(a < b for a, b in zip(self.rewinds, self.rewinds[1:], strict=False))
        if not self.rewinds or not rising or self.rewinds[0] < 0:
            raise SettingError(f"grid: rewinds is {self.rewinds}, must be numbers of updates from 0 on, rising.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise SettingError(f"grid: seeds is {self.seeds}, must name at least one, none twice.")
        for control in self.controls:
            if control not in CONTROLS or self.controls.count(control) > 1:
                raise SettingError(f"grid: control {control!r}; known are {', '.join(CONTROLS)}, each once.")

    def check_length(self, updates: int) -> None:
        """Raises SettingError where a rewinding point lies at or after the end of a dense run of so many updates."""
        if self.rewinds[-1] >= updates:
            raise SettingError(
                f"grid: a rewinding point is update {self.rewinds[-1]} and the dense run has {updates}; take earlier "
                "ones or more epochs."
            )


def dense(seed: int) -> Member:
    return Member(seed, 1.0, 0)


def waves(grid: Grid) -> list[list[Member]]:
    """All members, the dense ones first; those of one list need only those of the lists before.

    >>> [len(wave) for wave in waves(Grid((0.5, 0.2), (0, 100), (0, 1, 2)))]
    [3, 12]
    >>> [len(wave) for wave in waves(Grid((0.5, 0.2), (0, 100), (0, 1, 2), iterative=True))]
    [3, 6, 6]
    """
    found = [[dense(seed) for seed in grid.seeds]]
    rounds = range(len(grid.kept))
    made = [once(member for member in members_of(grid, number)) for number in rounds]
    return found + (made if grid.iterative else [[member for wave in made for member in wave]])


def members_of(grid: Grid, number: int) -> Iterable[Member]:
    """The tickets and controls of one share kept."""
    chain = grid.kept[:number] if grid.iterative else ()
    for seed in grid.seeds:
        for rewind in grid.rewinds:
            for variant in ("ticket", *grid.controls):
                yield Member(seed, grid.kept[number], shared_point(grid, rewind, variant), variant, chain)


def shared_point(grid: Grid, rewind: int, variant: Variant) -> int:
    """A control that is the same for all rewinding points is trained once: fresh weights under a one-shot mask."""
    return 0 if variant == "reinit" and not grid.iterative else rewind


def once(members: Iterable[Member]) -> list[Member]:
    """In order, none twice."""
    return list(dict.fromkeys(members))


def parent(member: Member) -> Member | None:
    """Whose final weights a member's mask is chosen from; None for the dense network.

    >>> parent(Member(0, 0.25, 100, "random", (0.5,)))
    Member(seed=0, kept=0.5, rewind=100, variant='ticket', chain=())
    """
    if member.variant == "dense":
        return None
    if not member.chain:
        return dense(member.seed)
    return Member(member.seed, member.chain[-1], member.rewind, "ticket", member.chain[:-1])


def ticket_of(member: Member) -> Member:
    """The ticket that a control is held against."""
    return Member(member.seed, member.kept, member.rewind, "ticket", member.chain)
