"""The loop around one update: epochs, validation, early stop, divergence, checkpoints, resume."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import DivergedError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.shares import Shares
from prunelle.runs import Run
from prunelle.seeds import derive, generator
from prunelle.train.checkpoint import pack, unpack_
from prunelle.train.ddp import join
from prunelle.train.losses import Distillation, Objective, Plain, SmoothedLabels
from prunelle.train.precision import Scale
from prunelle.train.settings import TrainSettings
from prunelle.train.step import TrainState, Update, init_state, update_

RUNAWAY = 1e3
"""A loss this many times the first one's is divergence, NaN or not."""


class Constraint(Protocol):
    """Something held during training, such as masks. Called with the number of updates done so far."""

    def start_(self, step: int) -> None:
        """Before the first update of this process; weights are those of `step`."""

    def after_update_(self, step: int) -> None:
        """After every update."""


@dataclass
class Progress:
    """Where a training stands; all of it is in the checkpoint."""

    step: int = 0
    closed_epochs: int = 0
    first_loss: float | None = None
    loss_sum: float = 0.0
    best_val: float = -math.inf
    best_epoch: int = 0
    scale: Scale = field(default_factory=Scale)
    stopped_epoch: int | None = None
    diverged_step: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a training ended. epochs_saved: those that early stopping left out. shares: of wall time."""

    epochs: int
    epochs_saved: int
    best_epoch: int
    shares: dict[str, float]


def fit_(
    model: nn.Module, task: Task, settings: TrainSettings, run: Run, name: str, constraint: Constraint | None = None
) -> Outcome:
    """Train `model` in place on task.train, watching task.val.

    name: unique within the run; rows and the checkpoint are filed under it. Interrupted and called again with the
    same arguments it goes on, and ends bit-identical on the same machine, torch and thread count.
    Raises DivergedError with the last good weights left in `model`; calling again raises it again.
    """
    return Training(model, task, settings, run, name, constraint).run_to_end_()


class Training:
    """One training in progress. Final; made and used by `fit_` only."""

    def __init__(
        self, model: nn.Module, task: Task, settings: TrainSettings, run: Run, name: str, constraint: Constraint | None
    ) -> None:
        settings.precision.check(run.device)
        self.model, self.task, self.settings, self.run, self.name = model.to(run.device), task, settings, run, name
        self.constraint = constraint
        self.ranks = join(run.device)
        self.rule = Update(objective(task, settings, run.device), settings.optimizer, settings.precision, self.ranks)
        # Convolutions run 1.3 to 1.5 times as fast on a CPU with channels innermost; linear layers don't care.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.state = init_state(model, settings.optimizer)
        self.progress = Progress()
        self.good: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.steps_per_epoch = task.train.num_batches(settings.batch_size, drop_last=True)
        self.shares = Shares(run.device, self.progress.seconds)
        self.saved_at = time.monotonic()

    def run_to_end_(self) -> Outcome:
        self.resume_()
        if self.constraint:
            self.constraint.start_(self.progress.step)
        self.good = snapshot(self.state)
        for epoch in range(self.progress.closed_epochs, self.settings.epochs):
            if self.over:
                break
            self.train_epoch_(epoch)
            self.close_epoch_(epoch)
        if self.progress.diverged_step is not None:
            raise DivergedError(
                f"{self.name}: the loss was not finite or grew {RUNAWAY:g}-fold at step {self.progress.diverged_step}; "
                f"the last good weights are kept; try a learning rate below {self.settings.lr:g}.",
                last_good=self.model.eval().to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            )
        if self.best:
            restore_(self.state, self.best)
        self.model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        last = self.settings.epochs if self.progress.stopped_epoch is None else self.progress.stopped_epoch
        return Outcome(last, self.settings.epochs - last, self.progress.best_epoch, self.shares.shares())

    @property
    def over(self) -> bool:
        return self.progress.stopped_epoch is not None or self.progress.diverged_step is not None

    def train_epoch_(self, epoch: int) -> None:
        """All updates of one epoch that are still to be done."""
        seed, progress, per_epoch = self.run.seed, self.progress, self.steps_per_epoch
        batches = self.task.train.epoch(
            self.settings.batch_size,
            order=generator(seed, self.name, "order", epoch),
            augment=lambda b: generator(seed, self.name, "augment", epoch, b, device=self.run.device),
            start=progress.step - epoch * per_epoch,
            drop_last=True,
        )
        self.model.train()
        self.shares.restart()
        for batch in batches:
            self.shares.mark("data")
            if not self.update_(batch):
                return
            progress.step += 1
            if self.constraint:
                self.constraint.after_update_(progress.step)
            self.shares.mark("compute")
            self.run.show(progress.step / (per_epoch * self.settings.epochs))
            self.maybe_save()
            self.shares.mark("rest")

    def update_(self, batch: tuple[Tensor, Tensor]) -> bool:
        """One update; False when training has diverged. An overflow under a loss scale only skips the update."""
        progress, scale = self.progress, self.progress.scale
        scaled = self.settings.precision.scaled
        lr = self.settings.lr_at(progress.step, self.steps_per_epoch)
        seed = derive(self.run.seed, self.name, "step", progress.step)
        loss, applied = update_(self.model, self.state, batch, self.rule, lr, seed, scale.value if scaled else 1.0)
        value = float(loss)
        if scaled:
            scale.report_(applied)
        if progress.first_loss is None and math.isfinite(value):
            progress.first_loss = value
        runaway = value > RUNAWAY * max(progress.first_loss or 0.0, 1.0)
        if runaway or (not applied and not (scaled and math.isfinite(value))):
            if runaway:
                restore_(self.state, self.good)
            progress.diverged_step = progress.step
            self.record({"diverged": True, "step": progress.step, "epoch": progress.closed_epochs + 1})
            self.save()
            return False
        progress.loss_sum += value
        return True

    def close_epoch_(self, epoch: int) -> None:
        """Validate, record, choose, maybe stop."""
        progress, settings = self.progress, self.settings
        if progress.diverged_step is not None:
            return
        self.ranks.broadcast_(list(self.state.buffers.values()))
        found = evaluate(self.model, self.task.val, self.task.loss, self.task.metric)
        steps = self.steps_per_epoch
        row: dict = {
            "step": progress.step,
            "epoch": epoch + 1,
            "train_loss": progress.loss_sum / steps,
            "val_loss": found.loss,
            "val_top1": found.top1,
            "lr": settings.lr_at(progress.step - 1, steps),
            "sparsity": zero_share(self.state),
        }
        progress.loss_sum, progress.closed_epochs = 0.0, epoch + 1
        self.choose_(epoch, found.top1)
        self.good = snapshot(self.state)
        self.shares.mark("rest")
        if self.over or epoch + 1 == settings.epochs:
            saved = settings.epochs - epoch - 1
            row |= {"epochs_saved": saved, "best_epoch": progress.best_epoch, "shares": self.shares.shares()}
            self.record(row)
            self.save()
        else:
            self.record(row)

    def choose_(self, epoch: int, val: float) -> None:
        """Keep these weights if they are the best so far, and stop early when told to."""
        progress, settings, stop = self.progress, self.settings, self.settings.early_stop
        if val > progress.best_val and (epoch + 1 >= settings.best_from * settings.epochs or stop):
            progress.best_val, progress.best_epoch = val, epoch + 1
            if stop or settings.best_from < 1:
                self.best = snapshot(self.state)
        if stop and epoch + 1 < settings.epochs:
            waited = stop.patience is not None and epoch + 1 - progress.best_epoch >= stop.patience
            reached = stop.target is not None and val >= stop.target
            progress.stopped_epoch = epoch + 1 if waited or reached else None

    def record(self, row: dict) -> None:
        if self.ranks.rank == 0:
            self.run.record({"stage": self.name, **row})

    def maybe_save(self) -> None:
        every = self.settings.checkpoint_steps
        due = self.progress.step % every == 0 if every else self.due_by_clock()
        if due:
            self.save()

    def due_by_clock(self) -> bool:
        return time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds

    def save(self) -> None:
        if self.ranks.rank == 0:
            self.run.save_checkpoint(self.name, *pack(self.state, self.best, self.progress))
        self.saved_at = time.monotonic()

    def resume_(self) -> None:
        found = self.run.load_checkpoint(self.name)
        if found:
            self.best = unpack_(self.state, self.progress, *found)
            self.shares = Shares(self.run.device, self.progress.seconds)
        if self.ranks.rank == 0:
            diverged = self.progress.diverged_step is not None
            self.run.keep_rows(self.name, self.progress.closed_epochs + diverged)
        self.ranks.barrier()


def objective(task: Task, settings: TrainSettings, device: torch.device) -> Objective:
    """The loss that the settings ask for."""
    base: Objective = SmoothedLabels(settings.label_smoothing) if settings.label_smoothing else Plain(task.loss)
    if settings.teacher is None:
        return base
    teacher = settings.teacher.model.to(device).eval()
    return Distillation(base, teacher, settings.teacher.temperature, settings.teacher.weight)


def snapshot(state: TrainState) -> dict[str, Tensor]:
    """Copies of all weights and buffers by name."""
    return {name: t.detach().clone() for name, t in {**state.weights, **state.buffers}.items()}


def restore_(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Put a snapshot back."""
    with torch.no_grad():
        for name, tensor in {**state.weights, **state.buffers}.items():
            tensor.copy_(tensors[name])


def zero_share(state: TrainState) -> float:
    """Share of zeros among all trained weights."""
    total = sum(w.numel() for w in state.weights.values())
    return 1 - sum(int(torch.count_nonzero(w)) for w in state.weights.values()) / total
