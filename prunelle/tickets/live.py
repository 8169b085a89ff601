"""A member in training: all that a checkpoint of it must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.runs import Run
from prunelle.tickets.fitting import alike, is_number
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
        check_checkpoint(live, tensors, info)
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


def check_checkpoint(live: Live, tensors: Mapping[str, Tensor], info: Any) -> None:
    """Raises CorruptFileError where it is not what `progress_of` and `Group.save_when_due` made of this member."""
    told = info if isinstance(info, dict) else {}
    left, history = told.get("would_leave"), told.get("history")
    fine = (
        told.keys() >= set(PROGRESS)
        and type(told["step"]) is int
        and told["step"] >= live.step
        and isinstance(history, list)
        and all(is_number(value) for value in history)
        and all(is_number(told[name]) for name in ("best_val", "loss_sum", "seconds"))
        and (told["first_loss"] is None or is_number(told["first_loss"]))
        and (left is None or alike(left, ["", 0.0, 0]))
        and all(name.partition(":")[0] in ("weights", "best", "good", "optimizer") for name in tensors)
    )
    if not fine:
        raise CorruptFileError(
            f"{live.run.folder}: its {STAGE}.checkpoint is of something else; delete it and start the same command "
            "again."
        )
