"""The loop around one update: epochs, validation, early stop, divergence, checkpoints, resume."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelle.data.task import Task
from prunelle.errors import DivergedError, ModelError, RunConflictError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.shares import Shares
from prunelle.runs import Run
from prunelle.seeds import derive, generator
from prunelle.train.averaging import average_, averaged, kept_share
from prunelle.train.checkpoint import pack, unpack_
from prunelle.train.constraint import Constraint
from prunelle.train.ddp import join
from prunelle.train.layout import best_layout
from prunelle.train.losses import objective
from prunelle.train.precision import SMALLEST_SCALE
from prunelle.train.progress import Progress
from prunelle.train.settings import TrainSettings
from prunelle.train.step import Update, finite, init_state, restore_, snapshot, update_, zero_share
from prunelle.train.stopping import choose_

RUNAWAY = 1e3
"""A loss this many times the first one's is divergence, NaN or not."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended. epochs: after which it stopped, or would have where that is audited. epochs_saved: the
    others. shares: of wall time."""

    epochs: int
    epochs_saved: int
    best_epoch: int
    shares: dict[str, float]


def fit_(
    model: nn.Module,
    task: Task,
    settings: TrainSettings,
    run: Run,
    name: str,
    constraint: Constraint | None = None,
    begun: str = "",
) -> Outcome:
    """Train `model` in place on task.train, watching task.val.

    name: unique within the run; rows and the checkpoint are filed under it. begun: what this training is (see
    train.identity); a checkpoint of another one is refused with RunConflictError. Interrupted and called again with the
    same arguments it goes on, and ends bit-identical on the same machine, torch and thread count.
    Raises DivergedError with the last good weights left in `model`; calling again raises it again. Raises ModelError
    for a model that has nothing to train, SettingError for a batch that has fewer examples than ranks, and for an
    average of weights that a constraint holds.
    """
    return Training(model, task, settings, run, name, constraint, begun).run_to_end_()


class Training:
    """One training in progress. Final; made and used by `fit_` only."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        settings: TrainSettings,
        run: Run,
        name: str,
        constraint: Constraint | None,
        begun: str,
    ) -> None:
        settings.precision.check(run.device)
        self.begun = begun and f"{begun} {task.fingerprint}"
        self.model, self.task, self.settings, self.run, self.name = model.to(run.device), task, settings, run, name
        self.constraint = constraint
        self.ranks = join(run.device)
        self.rule = Update(objective(task, settings, run.device), settings.optimizer, settings.precision, self.ranks)
        self.model.to(memory_format=best_layout(model, task.input_shape))  # type: ignore[call-overload]
        self.state = init_state(model, settings.optimizer)
        self.check()
        self.progress = Progress()
        self.good: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.mean: dict[str, Tensor] = {}
        self.steps_per_epoch = task.train.num_batches(settings.batch_size, drop_last=True)
        self.shares = Shares(run.device, self.progress.seconds)
        self.saved_at = time.monotonic()

    def check(self) -> None:
        if not self.state.weights:
            raise ModelError(f"{self.name}: every weight of the model is frozen; set requires_grad on those to train.")
        if self.constraint is not None and self.settings.average_epochs:
            raise SettingError(
                f"{self.name}: average_epochs is {self.settings.average_epochs:g} and its weights are held, such as by "
                "a mask, which an average would not keep to; pass 0."
            )
        smallest = min(self.settings.batch_size, len(self.task.train))
        if smallest < self.ranks.world:
            raise SettingError(
                f"{self.name}: a batch has {smallest} examples for {self.ranks.world} ranks, must have one for each; "
                "start fewer ranks or raise batch_size."
            )

    def run_to_end_(self) -> Outcome:
        held = self.resume_()
        if self.constraint:
            self.constraint.start_(self.progress.step, held)
        if not self.good:
            self.good = snapshot(self.state)
        if self.settings.average_epochs and not self.mean:
            self.mean = snapshot(self.state)
        for epoch in range(self.progress.closed_epochs, self.settings.epochs):
            if self.over:
                break
            self.train_epoch_(epoch)
            self.close_epoch_(epoch)
        if self.progress.diverged_step is not None and self.progress.stopped_epoch is None:
            raise DivergedError(
                f"{self.name}: the loss was not finite or grew {RUNAWAY:g}-fold at step {self.progress.diverged_step}; "
                f"the last good weights are kept; try a learning rate below {self.settings.lr:g}.",
                last_good=self.model.eval().to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            )
        if self.best or self.mean:
            restore_(self.state, self.best or self.mean)
        self.model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        last = self.settings.epochs if self.progress.stopped_epoch is None else self.progress.stopped_epoch
        return Outcome(last, self.settings.epochs - last, self.progress.best_epoch, self.shares.shares())

    @property
    def over(self) -> bool:
        stopped = self.progress.stopped_epoch is not None and not self.settings.audited
        return stopped or self.progress.diverged_step is not None

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
            if self.mean:
                self.state.buffers = dict(self.model.named_buffers())  # a module may have put others in their place
                average_(self.mean, self.state, kept_share(progress.step, self.settings.average_epochs * per_epoch))
            progress.step += 1
            if self.constraint:
                self.constraint.after_update_(progress.step)
            self.shares.mark("compute")
            if self.ranks.rank == 0:
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
        # A gradient that still overflows at the smallest scale is no artefact of the scale.
        skipped = scaled and not applied and math.isfinite(value) and scale.value > SMALLEST_SCALE
        if scaled:
            scale.report_(applied)
        if progress.first_loss is None and math.isfinite(value):
            progress.first_loss = value
        if value > self.runaway_loss or not (applied or skipped):
            self.diverge_()
            return False
        progress.loss_sum += value
        return True

    @property
    def runaway_loss(self) -> float:
        return RUNAWAY * max(self.progress.first_loss or 0.0, 1.0)

    def diverge_(self) -> None:
        """Give up. The weights stay where val still knows them as good, else those of the last epoch's end come back:
        weights that overflow in the forward pass may be finite themselves, and one bad batch spoils no weights."""
        if self.mean:
            restore_(self.state, self.mean)
        val_loss, _ = self.validate()
        if not (finite(self.state) and val_loss <= self.runaway_loss):
            restore_(self.state, self.good)
        self.progress.diverged_step = self.progress.step
        row = {"diverged": True, "step": self.progress.step, "epoch": self.progress.closed_epochs + 1}
        stopped = self.progress.stopped_epoch
        if stopped is not None:
            row |= {"epochs_saved": self.settings.epochs - stopped, "best_epoch": self.progress.best_epoch}
        self.record(row)
        self.save()

    def close_epoch_(self, epoch: int) -> None:
        """Validate, record, choose, maybe stop."""
        if self.progress.diverged_step is not None:
            return
        self.state.buffers = dict(self.model.named_buffers())
        averages = [self.mean[name] for name in self.state.buffers] if self.mean else []
        self.ranks.broadcast_([*self.state.buffers.values(), *averages])
        with averaged(self.state, self.mean):
            row = self.judged_(epoch)
        if row is None:
            self.diverge_()
            return
        self.shares.mark("rest")
        if self.over or epoch + 1 == self.settings.epochs:
            stopped = self.progress.stopped_epoch or epoch + 1
            row |= {
                "epochs_saved": self.settings.epochs - stopped,
                "best_epoch": self.progress.best_epoch,
                "shares": self.shares.shares(),
            }
            row |= self.about_ranks()
            self.record(row)
            self.save()
        else:
            self.record(row)

    def judged_(self, epoch: int) -> dict | None:
        """The row of an epoch whose weights val has looked at; they are kept as good, and may be chosen. None where the
        loss on val is not finite."""
        progress, settings, steps = self.progress, self.settings, self.steps_per_epoch
        val_loss, val_top1 = self.validate()
        if not math.isfinite(val_loss):
            return None
        row = {
            "step": progress.step,
            "epoch": epoch + 1,
            "train_loss": progress.loss_sum / steps,
            "val_loss": val_loss,
            "val_top1": val_top1,
            "lr": settings.lr_at(progress.step - 1, steps),
            "sparsity": zero_share(self.state),
        }
        progress.loss_sum, progress.closed_epochs = 0.0, epoch + 1
        settled = self.constraint is None or self.constraint.settled(progress.step)
        if settled and choose_(progress, settings, epoch, val_top1):
            self.best = snapshot(self.state)
        self.good = snapshot(self.state)
        return row

    def validate(self) -> tuple[float, float]:
        """(loss, top1) on val, rank 0's on every rank, so that all decide alike."""
        found = evaluate(self.model, self.task.val, self.task.loss, self.task.metric)
        values = torch.tensor([found.loss, found.top1], dtype=torch.float64, device=self.run.device)
        self.ranks.broadcast_([values])
        return float(values[0]), float(values[1])

    def about_ranks(self) -> dict:
        """What differs from training in one process."""
        if self.ranks.world == 1:
            return {}
        normed = any(isinstance(module, _BatchNorm) for module in self.model.modules())
        return {"ranks": self.ranks.world, "batch_norm": "per replica, buffers of rank 0" if normed else None}

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
            self.state.buffers = dict(self.model.named_buffers())
            held = self.constraint.state() if self.constraint else {}
            kept = {"best": self.best, "good": self.good, "mean": self.mean, "held": held}
            tensors, info = pack(self.state, kept, self.progress)
            self.run.save_checkpoint(self.name, tensors, info | {"begun": self.begun})
        self.saved_at = time.monotonic()

    def resume_(self) -> dict[str, Tensor]:
        """Go back to the checkpoint, if there is one. Returns the constraint's state in it."""
        found = self.run.load_checkpoint(self.name)
        if found and found[1].get("begun", self.begun) != self.begun:
            raise RunConflictError(
                f"{self.run.folder}: its checkpoint of {self.name} is of other settings, weights or data; give the run "
                "settings of its own (Run.open), or another folder."
            )
        kept = unpack_(self.state, self.progress, *found) if found else {}
        self.best, self.good, self.mean = (kept.get(purpose, {}) for purpose in ("best", "good", "mean"))
        self.shares = Shares(self.run.device, self.progress.seconds)
        if self.ranks.rank == 0:
            diverged = self.progress.diverged_step is not None
            self.run.keep_rows(self.name, self.progress.closed_epochs + diverged)
        self.ranks.barrier()
        return kept.get("held", {})
