"""What a finished member leaves in its run folder: the network, then the card that says it is done."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from prunelle.data.task import Task
from prunelle.files import remove
from prunelle.measure.accuracy import evaluate
from prunelle.measure.params import count_params
from prunelle.models.save import save
from prunelle.tickets.grid import Member
from prunelle.tickets.live import STAGE, Live
from prunelle.tickets.lottery import MODEL, Lottery, Place, first_update, is_done, run_of


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
    return run_of(lottery, member, place).card() if is_done(lottery, member, place) else None


def tidy(place: Place) -> None:
    """Remove the checkpoints that kills between a card and the end of `finish` have left. Raises DiskError."""
    for card in place.out.glob("runs/*/card.json"):
        remove(card.parent / f"{STAGE}.checkpoint")
