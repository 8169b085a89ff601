"""A ticket held against its controls, seed by seed: whether it beats them, by how much, and by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report.groups import Spread, spread
from prunelle.report.rows import Row

CONTROLS = ("random", "shuffled", "reinit")
"""Variants that a ticket has to beat; learning-rate rewinding and fine-tuning are tickets themselves."""
UNFINISHED = ("skipped", "diverged")


@dataclass(frozen=True)
class Held:
    """A control beside the winning ticket. own, other: test accuracy of the ticket and of the control over the seeds
    that have both; None where no seed has. ended_early: of the control's trainings among them."""

    control: str
    own: Spread | None
    other: Spread | None
    ended_early: int = 0

    @property
    def lead(self) -> float | None:
        """The ticket's median less the control's, a fraction."""
        return None if self.own is None or self.other is None else self.own.median - self.other.median

    @property
    def clear(self) -> bool:
        """Ahead by more than the band: the ticket's worst seed is above the control's best. Never with one seed."""
        return self.own is not None and self.other is not None and self.own.num > 1 and self.own.low > self.other.high

    @property
    def ahead(self) -> bool:
        return self.lead is not None and self.lead > 0


def finished(rows: Sequence[Row]) -> list[Row]:
    """Those that gave an accuracy which counts."""
    return [row for row in rows if row["status"] not in UNFINISHED]


def rewinding_points(rows: Sequence[Row]) -> dict[int, float | None]:
    """Update -> epoch, rising; of the tickets, for a control may stand at none of theirs."""
    own = [row for row in rows if row["variant"] in ("ticket", "lr", "finetune")]
    return {row["rewind"]: row.get("rewind_epoch") for row in sorted(own, key=lambda row: row["rewind"])}


def at_point(rows: Sequence[Row], variant: str, rewind: int) -> list[Row]:
    """Rows (or points) of a variant at a rewinding point; all of them where it was trained once for every point."""
    own = [row for row in rows if row["variant"] == variant]
    return [row for row in own if row["rewind"] == rewind or (variant == "reinit" and shared(own))]


def shared(own: Sequence[Row]) -> bool:
    """Whether fresh weights were trained once for all rewinding points."""
    return {row["rewind"] for row in own} == {0}


def held_against(rows: Sequence[Row], winner: Row) -> list[Held]:
    """The winner beside every control that was planned at its share kept, in the order of CONTROLS."""
    same = [row for row in rows if row["kept"] == winner["kept"]]
    own = {row["seed"]: row["test_top1"] for row in finished(at_point(same, winner["variant"], winner["rewind"]))}
    found = []
    for control in CONTROLS:
        planned = at_point(same, control, winner["rewind"])
        there = [row for row in finished(planned) if row["seed"] in own]
        early = sum(row["status"] != "done" for row in there)
        if planned:
            mine = spread([own[row["seed"]] for row in there])
            found.append(Held(control, mine, spread([row["test_top1"] for row in there]), early))
    return found
