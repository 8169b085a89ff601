"""Rewinding points, and what a member begins with: weights from one place, the mask from another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import CorruptFileError
from prunelle.measure.params import prunable
from prunelle.models.save import load
from prunelle.prune.select import Kept
from prunelle.prune.statistics import score_weights
from prunelle.prune.weight_shares import scope_for
from prunelle.runs import Run
from prunelle.seeds import derive, generator
from prunelle.tickets.controls import random_mask, shuffled_mask
from prunelle.tickets.grid import Member, parent
from prunelle.tickets.lottery import MODEL, Lottery, Place, dense_run, run_of
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import State


def save_point(run: Run, update: int, tensors: Mapping[str, Tensor], optimizer: State) -> None:
    """Keep where the dense run stands after `update` updates. Raises DiskError."""
    stored = {f"weights:{name}": t for name, t in tensors.items()}
    for quantity, values in optimizer.items():
        stored |= {f"optimizer:{quantity}:{number}": t for number, t in enumerate(values)}
    run.save_checkpoint(point(update), stored, {"update": update})


def point(update: int) -> str:
    return f"rewind-{update}"


def load_point(run: Run, update: int) -> tuple[dict[str, Tensor], State]:
    """(weights and buffers by name, optimizer state) of a rewinding point. Raises CorruptFileError."""
    found = run.load_checkpoint(point(update))
    if found is None:
        raise CorruptFileError(f"{run.folder}: has no rewinding point {update}; delete that folder and start again.")
    tensors: dict[str, Tensor] = {}
    optimizer: dict[str, dict[int, Tensor]] = {}
    for name, tensor in found[0].items():
        kind, _, rest = name.partition(":")
        quantity, _, number = rest.partition(":")
        if kind == "weights":
            tensors[rest] = tensor
        elif kind == "optimizer" and number.isdecimal():
            optimizer.setdefault(quantity, {})[int(number)] = tensor
        else:
            raise CorruptFileError(f"{run.folder}: its rewinding point {update} is none; delete it and start again.")
    return tensors, {quantity: [values[n] for n in sorted(values)] for quantity, values in optimizer.items()}


def start_of(lottery: Lottery, member: Member, task: Task, place: Place) -> Start:
    """What a member begins with. Its parent and the dense run stand."""
    if member.variant == "dense":
        return Start(fresh(lottery, task, member.seed, place))
    above = parent(member)
    assert above is not None
    ancestor = load(run_of(lottery, above, place).folder / MODEL, trust=lottery.trust).to(place.device)
    kept = mask_of(lottery, member, ancestor, task)
    if member.variant in ("lr", "finetune"):
        return Start(ancestor.state_dict(), kept)
    if member.variant == "reinit":
        return Start(fresh(lottery, task, derive(member.seed, "reinit"), place), kept)
    tensors, optimizer = load_point(dense_run(lottery, member, place), member.rewind)
    return Start(tensors, kept, optimizer if lottery.rewind_optimizer else {})


def fresh(lottery: Lottery, task: Task, seed: int, place: Place) -> dict[str, Tensor]:
    """Untrained weights and buffers."""
    return {n: t.to(place.device) for n, t in lottery.open(task, seed).model.state_dict().items()}


def mask_of(lottery: Lottery, member: Member, ancestor: nn.Module, task: Task) -> Kept:
    """A member's mask, chosen from its parent's final weights; what is zero there stays so."""
    weights = prunable(ancestor)
    draws = generator(member.seed, "score", str(member.kept), member.rewind, device=place_of(weights))
    scores = score_weights(weights, lottery.score, draws, ancestor, task)
    kept = scope_for(lottery.scope, ancestor, task)(scores, 1 - member.kept)
    if member.variant == "random":
        return random_mask(kept, member.seed, str(member.kept), member.rewind)
    if member.variant == "shuffled":
        return shuffled_mask(kept, member.seed, str(member.kept), member.rewind)
    return kept


def place_of(weights: Mapping[str, Tensor]) -> torch.device:
    return next(iter(weights.values())).device
