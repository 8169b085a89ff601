"""What a worker does with some members: lock their runs, begin or resume them, train them together, leave cards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import BusyError
from prunelle.prune.masks import zero_
from prunelle.runs import Run
from prunelle.tickets.finished import card_of
from prunelle.tickets.fitting import check_start, check_tensors
from prunelle.tickets.fused import FusedTrainer
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.group import Group
from prunelle.tickets.live import Live, resume_
from prunelle.tickets.lottery import Lottery, Place, first_update, run_of
from prunelle.tickets.rewind import start_of
from prunelle.tickets.sparse_training import SparseTrainer
from prunelle.tickets.trainer import PlainTrainer, Start, Trainer
from prunelle.train.losses import objective
from prunelle.train.step import Update

How = Literal["plain", "fused", "sparse"]
TRAINERS: Mapping[How, Callable[..., Trainer]] = {
    "plain": PlainTrainer,
    "fused": FusedTrainer,
    "sparse": SparseTrainer,
}
LOCK_SECONDS = 30
"""How long a worker waits for a run that the workers of a killed search still hold."""


@dataclass(frozen=True)
class Job:
    """Members to be trained together in one process."""

    lottery: Lottery
    place: Place
    members: tuple[Member, ...]
    how: How


def work(job: Job, task: Task) -> None:
    """Train those of a job's members that are not done. Raises what training them raises."""
    with ExitStack() as locks:
        lives = []
        model = job.lottery.open(task, 0).model
        for member in job.members:
            run = run_of(job.lottery, member, job.place)
            if not run.done:
                locks.enter_context(locked_soon(run))
            if not run.done:  # whoever held it may have finished it
                lives.append(begin(job, member, run, task, model))
        by_step: dict[int, list[Live]] = {}
        for live in lives:
            by_step.setdefault(live.step, []).append(live)
        for together in by_step.values():
            train_together(job, together, task)


@contextmanager
def locked_soon(run: Run) -> Iterator[None]:
    """Run.locked, waiting a while for whoever is about to let go. Raises BusyError."""
    deadline = time.monotonic() + LOCK_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(run.locked())
                break
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def begin(job: Job, member: Member, run: Run, task: Task, model: nn.Module) -> Live:
    """A member at its first update or at its checkpoint. model: the network, of any seed.

    Raises CorruptFileError for files that are not of this network.
    """
    optimizer = job.lottery.settings.optimizer
    start = start_of(job.lottery, member, task, job.place)
    check_start(start, model, optimizer, run.folder)
    live = Live(member, run, start, first_update(member), good=masked(start), how=job.how)
    resume_(live, job.lottery.steps_per_epoch(task))
    check_start(live.start, model, optimizer, run.folder)
    for chosen in filter(None, (live.good, live.best)):
        check_tensors(chosen, model.state_dict(), run.folder)
    return live


def masked(start: Start) -> dict[str, Tensor]:
    """Copies of a start's tensors, +0 where not kept."""
    found = {name: t.clone() for name, t in start.tensors.items()}
    zero_(found, start.kept)
    return found


def train_together(job: Job, lives: list[Live], task: Task) -> None:
    """Members that stand at one step, to their ends."""
    seeds = {live.member.seed for live in lives if live.member.variant != "dense"}
    cards = {seed: card_of(job.lottery, dense(seed), job.place) for seed in seeds}
    dense_val = {seed: card["found"]["val_top1"] for seed, card in cards.items() if card is not None}
    group = Group(job.lottery, task, job.place, lives, dense_val)
    trainer = trainer_of(job.how, group.model, [live.start for live in lives], job.lottery, task)
    group.train_(trainer)


def trainer_of(how: How, model: nn.Module, starts: Sequence[Start], lottery: Lottery, task: Task) -> Trainer:
    """Raises ModelError where a network cannot be trained in this way."""
    return TRAINERS[how](model, starts, rule_of(model, lottery, task), task.input_shape)


def rule_of(model: nn.Module, lottery: Lottery, task: Task) -> Update:
    """What one update of the network is."""
    device = next(model.parameters()).device
    return Update(objective(task, lottery.settings, device), lottery.settings.optimizer, lottery.settings.precision)
