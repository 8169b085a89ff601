"""What a finished member leaves in its run folder: the network, then the card that says it is done."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from prunelle.data.task import Task
from prunelle.errors import CorruptFileError
from prunelle.files import remove
from prunelle.measure.accuracy import evaluate
from prunelle.measure.params import count_params
from prunelle.models.save import save
from prunelle.tickets.fitting import alike, is_number
from prunelle.tickets.grid import Member
from prunelle.tickets.live import STAGE, Live
from prunelle.tickets.lottery import MODEL, Lottery, Place, first_update, folder_of, is_done, run_of


def finish(live: Live, model: nn.Module, lottery: Lottery, task: Task) -> None:
    """Read the test split, save, write the card. model: holds the member's weights."""
    run, member = live.run, live.member
    val = evaluate(model, task.val, task.loss, task.metric)
    test = evaluate(model, task.test, task.loss, task.metric)
    count = count_params(model)
    opened = lottery.open(task, member.seed)
    save(
        model.cpu(),
        run.folder / MODEL,
        builder=opened.builder,
        preprocessing=task.preprocessing,
        class_names=task.class_names,
        cuts=opened.cuts,
    )
    model.to(run.device)
    found = {
        **dataclasses.asdict(member),
        "chain": list(member.chain),
        "val_top1": val.top1,
        "val_loss": val.loss if val.loss < float("inf") else None,
        "test_top1": test.top1,
        "nnz": count.prunable_nnz,
        "prunable": count.prunable,
        "layers": {row.name: row.nnz for row in count.rows if row.prunable},
        "updates": live.step - first_update(member),
        "updates_left_out": lottery.updates(task) - live.step,
        "history": live.history,
        "left": live.left,
        "diverged": live.diverged,
        "would_leave": list(live.would_leave) if live.would_leave else None,
    }
    run.finish({"found": found, "took": {"seconds": live.seconds, "how": live.how}})
    remove(run.folder / f"{STAGE}.checkpoint")


def card_of(lottery: Lottery, member: Member, place: Place) -> dict[str, Any] | None:
    """The card of a member, None while it is not done. found: what does not depend on the clock. took: what does.

    Raises CorruptFileError.
    """
    if not is_done(lottery, member, place):
        return None
    card = run_of(lottery, member, place).card()
    check_card(card, member, folder_of(lottery, member, place) / "card.json")
    return card


COUNTS = ("nnz", "prunable", "updates", "updates_left_out")


def check_card(card: dict[str, Any], member: Member, path: Path) -> None:
    """Raises CorruptFileError where it is none that `finish` has written for this member."""
    found, took = card.get("found"), card.get("took")
    told, clock = (one if isinstance(one, dict) else {} for one in (found, took))
    own = {**dataclasses.asdict(member), "chain": list(member.chain)}
    fine = (
        all(told.get(name) == value for name, value in own.items())
        and all(is_number(told.get(name), 0.0, 1.0) for name in ("val_top1", "test_top1"))
        and all(is_number(told.get(name), 0) for name in COUNTS)
        and (told.get("val_loss") is None or is_number(told["val_loss"]))
        and told.get("left") in (None, "converged", "hopeless")
        and type(told.get("diverged")) is bool
        and (told.get("would_leave") is None or alike(told["would_leave"], ["", 0.0, 0]))
        and is_number(clock.get("seconds"), 0.0)
        and isinstance(clock.get("how"), str)
    )
    if not fine:
        raise CorruptFileError(f"{path}: is not of this training; delete its folder and start the same command again.")


def tidy(place: Place) -> None:
    """Remove the checkpoints that kills between a card and the end of `finish` have left. Raises DiskError."""
    for card in place.out.glob("runs/*/card.json"):
        remove(card.parent / f"{STAGE}.checkpoint")
