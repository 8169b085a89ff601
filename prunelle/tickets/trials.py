"""A few steps of a training on a clock. They plan work and report no speed; benchmarks/tickets_throughput.py does."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, cycle
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import torch

from prunelle.data.task import Task
from prunelle.measure.accuracy import evaluate
from prunelle.measure.params import prunable
from prunelle.models.save import load, save
from prunelle.tickets.controls import random_mask
from prunelle.tickets.finished import finish
from prunelle.tickets.grid import Member
from prunelle.tickets.live import Live
from prunelle.tickets.lottery import Lottery, Place, run_of
from prunelle.tickets.rewind import load_point, mask_of, save_point
from prunelle.tickets.trainer import Start
from prunelle.tickets.work import How, trainer_of

FOLDER = ".trial-"
TRIAL_SECONDS = 0.7
FEWEST_STEPS = 3
WHO_SECONDS = 0.05


@dataclass(frozen=True)
class Trial:
    lottery: Lottery
    place: Place
    how: How
    kept: float
    group: int


def who(job: None, task: Task) -> str:
    """The name of the worker that answers. It takes a moment, so that each of those that are up gets one to do."""
    sleep(WHO_SECONDS)
    return f"{platform.node()} {os.getpid()}"


def trial(job: Trial, task: Task) -> float:
    """Seconds an update of one member takes, batch included."""
    lottery, place = job.lottery, job.place
    opened = lottery.open(task, 0).model.to(place.device)
    tensors = opened.state_dict()
    whole = {name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable(opened).items()}
    masks = [
        random_mask({name: thinned(m, job.kept) for name, m in whole.items()}, number) if job.kept < 1 else whole
        for number in range(job.group)
    ]
    trainer = trainer_of(job.how, opened, [Start(tensors, kept) for kept in masks], lottery, task)
    batches = cycle(task.train.epoch(min(lottery.settings.batch_size, len(task.train)), drop_last=True))

    def step() -> None:
        batch = next(batches)
        trainer.step_([batch] * job.group, [1e-6] * job.group, [0] * job.group)

    return seconds_a_call(step) / job.group


def thinned(mask: torch.Tensor, share: float) -> torch.Tensor:
    """As many True as the share says, at least one, in front."""
    flat = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
    flat[: max(1, round(share * mask.numel()))] = True
    return flat.view(mask.shape)


def seconds_a_call(call: Callable[[], object]) -> float:
    """The median of a few, after one to warm up."""
    call()
    found: list[float] = []
    while len(found) < FEWEST_STEPS or sum(found) < TRIAL_SECONDS:
        start = monotonic()
        call()
        found.append(monotonic() - start)
    return median(found)


def looks(job: Trial, task: Task) -> tuple[float, float]:
    """Seconds of what a member does after each epoch: a validation and its row; and of what it does once: its run,
    weights and mask to begin with, two evaluations, saving and the card at its end."""
    lottery, out = job.lottery, job.place.out
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir=out if out.is_dir() else None) as folder:
        place = replace(job.place, out=Path(folder))
        opened = lottery.open(task, 0)
        model = opened.model.to(place.device)
        save(opened.model, Path(folder) / "parent", builder=opened.builder, cuts=opened.cuts)
        members = (Member(number, 0.5, 0, "ticket") for number in count())
        first = run_of(lottery, next(members), place)
        save_point(first, 0, model.state_dict(), {})

        def look() -> None:
            found = evaluate(model, task.val, task.loss, task.metric)
            first.record({"stage": "trial", "epoch": 1, "val_top1": found.top1})

        def once() -> None:
            member = next(members)
            run = run_of(lottery, member, place)
            with run.locked():
                ancestor = load(Path(folder) / "parent", trust=lottery.trust).to(place.device)
                kept = mask_of(lottery, member, ancestor, task)
                tensors, _ = load_point(first, 0)
                model.load_state_dict(tensors)
                finish(Live(member, run, Start(tensors, kept), 0), model, lottery, task)

        return seconds_a_call(look), seconds_a_call(once)


def clear(out: Path) -> None:
    """Remove what trials that were killed have left in `out`."""
    for left in out.glob(f"{FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
