"""A member in training: all that a checkpoint of it must hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from prunelle.runs import Run
from prunelle.tickets.grid import Member
from prunelle.tickets.retire import Reason
from prunelle.tickets.trainer import Start

STAGE = "train"


@dataclass
class Live:
    """A member in training. step: updates done, counted as in the dense run. history: val accuracy after each of its
    epochs. best: weights that may be chosen. good: those of the last epoch's end, in the first one of its beginning.
    left: why it was ended early. would_leave: (reason, val accuracy of what it would have left, epoch) when it stays
    only because it is audited. seconds: of work on it. how: in which way it is trained."""

    member: Member
    run: Run
    start: Start
    step: int
    history: list[float] = field(default_factory=list)
    val_loss: float = math.nan
    best_val: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    good: dict[str, Tensor] = field(default_factory=dict)
    first_loss: float | None = None
    loss_sum: float = 0.0
    left: Reason | None = None
    would_leave: tuple[Reason, float, int] | None = None
    diverged: bool = False
    seconds: float = 0.0
    how: str = "plain"

    @property
    def over(self) -> bool:
        return self.diverged or self.left is not None


PROGRESS = ("step", "history", "best_val", "first_loss", "loss_sum", "would_leave", "seconds")


def progress_of(live: Live) -> dict:
    """What of a member is no tensor, as JSON."""
    return {name: getattr(live, name) for name in PROGRESS}


def resume_(live: Live, per_epoch: int) -> None:
    """Go back to a member's checkpoint, if it has one, and drop the rows that will be recorded again.

    Raises CorruptFileError.
    """
    found = live.run.load_checkpoint(STAGE)
    if found is not None:
        tensors, info = found
        for name in PROGRESS:
            setattr(live, name, info[name])
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "good": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(":")
            parts[kind][rest] = tensor
        optimizer: dict[str, list[Tensor]] = {}
        for name in sorted(parts["optimizer"]):
            optimizer.setdefault(name.partition(":")[0], []).append(parts["optimizer"][name])
        live.best, live.good = parts["best"], parts["good"]
        live.start = Start(parts["weights"], live.start.kept, optimizer)
    live.run.keep_rows(STAGE, live.step // per_epoch)
