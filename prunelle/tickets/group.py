"""Training members together: epochs, validation, early retirement, checkpoints, resume; a run folder each.

What a member becomes does not depend on who is trained beside it, as far as its trainer's bits do not (see the
trainers), so a search that was killed may regroup what is left.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence

from torch import nn

from prunelle.data.task import Batch, Task
from prunelle.measure.accuracy import evaluate
from prunelle.seeds import derive, generator
from prunelle.tickets.finished import finish
from prunelle.tickets.live import STAGE, Live, progress_of
from prunelle.tickets.lottery import Lottery, Place, first_update, lr_at, order_seed
from prunelle.tickets.retire import audited, verdict
from prunelle.tickets.rewind import save_point
from prunelle.tickets.trainer import Trainer

RUNAWAY = 1e3
"""A loss this many times the first one's is divergence, NaN or not."""


class Group:
    """Members that stand at one step, in training. Final; made and used by `train_together_` only.

    dense_val: by seed, what `retire.verdict` compares with.
    """

    def __init__(
        self, lottery: Lottery, task: Task, place: Place, lives: list[Live], dense_val: dict[int, float]
    ) -> None:
        self.lottery, self.task, self.place, self.lives, self.dense_val = lottery, task, place, lives, dense_val
        self.per_epoch = lottery.steps_per_epoch(task)
        self.step = lives[0].step
        self.model: nn.Module = copy.deepcopy(lottery.open(task, 0).model).to(place.device)
        self.saved_at = time.monotonic()

    def train_(self, trainer: Trainer) -> None:
        """To the end of all."""
        for epoch in range(self.step // self.per_epoch, self.lottery.settings.epochs):
            self.train_epoch_(trainer, epoch)
            self.close_epoch_(trainer, epoch)
            if not self.lives:
                return
        for live in list(self.lives):
            self.finish_(live)

    def train_epoch_(self, trainer: Trainer, epoch: int) -> None:
        batches = self.batches(epoch)
        if self.step == 0:
            self.keep_points_(trainer)
        started = time.monotonic()
        for _ in range(self.step - epoch * self.per_epoch, self.per_epoch):
            found = {seed: next(source) for seed, source in batches.items()}
            given = [found[order_seed(live.member)] for live in self.lives]
            lrs = [lr_at(self.lottery, live.member, self.step, self.per_epoch) for live in self.lives]
            seeds = [derive(order_seed(live.member), "step", self.step) for live in self.lives]
            losses = trainer.step_(given, lrs, seeds).tolist()
            self.step += 1
            self.note_(trainer, losses)
            started = self.account_(started)
            if not self.lives:
                return
            self.keep_points_(trainer)
            if self.step % self.per_epoch:
                self.save_when_due(trainer)
            self.lives[0].run.show(self.step / (self.per_epoch * self.lottery.settings.epochs))

    def batches(self, epoch: int) -> dict[int, Iterator[Batch]]:
        """One source of batches for each order of the data, from the present step on."""
        return {
            seed: self.task.train.epoch(
                self.lottery.settings.batch_size,
                order=generator(seed, "order", epoch),
                augment=lambda b, seed=seed: generator(seed, "augment", epoch, b, device=self.place.device),  # type: ignore[misc]
                start=self.step - epoch * self.per_epoch,
                drop_last=True,
            )
            for seed in {order_seed(live.member) for live in self.lives}
        }

    def account_(self, started: float) -> float:
        """Share the time since then among the members. Returns the time now."""
        now = time.monotonic()
        for live in self.lives:
            live.seconds += (now - started) / len(self.lives)
        return now

    def note_(self, trainer: Trainer, losses: Sequence[float]) -> None:
        """Add the losses up; those that diverged leave with the weights of their last good epoch."""
        for live, loss in zip(self.lives, losses, strict=True):
            if live.first_loss is None and math.isfinite(loss):
                live.first_loss = loss
            live.diverged = not loss <= RUNAWAY * max(live.first_loss or 0.0, 1.0)
            live.loss_sum += loss
            live.step = self.step
        if any(live.diverged for live in self.lives):
            self.leave_(trainer)

    def close_epoch_(self, trainer: Trainer, epoch: int) -> None:
        """Validate, record, choose, retire."""
        settings = self.lottery.settings
        for number, live in enumerate(self.lives):
            tensors = trainer.tensors(number)
            started = time.monotonic()
            self.model.load_state_dict(tensors)
            found = evaluate(self.model, self.task.val, self.task.loss, self.task.metric)
            if not math.isfinite(found.loss):
                live.diverged = True
                continue
            live.good = tensors
            live.history.append(found.top1)
            if epoch + 1 >= settings.best_from * settings.epochs and found.top1 > live.best_val:
                live.best_val, live.best = found.top1, tensors
            if epoch + 1 < settings.epochs:
                self.judge_(live, epoch)
            begun = max(epoch * self.per_epoch, first_update(live.member))
            train_loss = live.loss_sum / (self.step - begun)
            row = {"stage": STAGE, "step": self.step, "epoch": epoch + 1, "train_loss": train_loss}
            live.run.record(row | {"val_loss": found.loss, "val_top1": found.top1})
            live.loss_sum = 0.0
            live.seconds += time.monotonic() - started
        if any(live.over for live in self.lives):
            self.leave_(trainer)
        self.save_when_due(trainer)

    def judge_(self, live: Live, epoch: int) -> None:
        """Whether it is ended here."""
        if live.member.variant == "dense":
            return
        rule = self.lottery.retirement
        epochs = len(live.history) + self.lottery.settings.epochs - epoch - 1
        reason = verdict(live.history, self.dense_val[live.member.seed], epochs, rule)
        if reason and audited(live.member.seed, repr(live.member), rule):
            live.would_leave = live.would_leave or (reason, live.best_val if live.best else live.history[-1], epoch + 1)
        else:
            live.left = reason

    def leave_(self, trainer: Trainer) -> None:
        """Finish those that are over, go on with the rest."""
        staying = [number for number, live in enumerate(self.lives) if not live.over]
        for live in self.lives:
            if live.over:
                self.finish_(live)
        self.lives = [self.lives[number] for number in staying]
        trainer.keep_(staying)

    def finish_(self, live: Live) -> None:
        """What ends early is as good as it has been, like every early stop."""
        self.model.load_state_dict(live.best or live.good)
        finish(live, self.model, self.lottery, self.task)

    def keep_points_(self, trainer: Trainer) -> None:
        """The dense run's rewinding points."""
        if self.step not in self.lottery.grid.rewinds:
            return
        for number, live in enumerate(self.lives):
            if live.member.variant == "dense":
                optimizer = trainer.optimizer(number) if self.lottery.rewind_optimizer else {}
                save_point(live.run, self.step, trainer.tensors(number), optimizer)

    def save_when_due(self, trainer: Trainer) -> None:
        """A checkpoint of every member, all at this step, never between an epoch's last update and its row."""
        if time.monotonic() - self.saved_at < self.place.checkpoint_seconds:
            return
        for number, live in enumerate(self.lives):
            tensors = {f"weights:{n}": t for n, t in trainer.tensors(number).items()}
            tensors |= {f"best:{n}": t for n, t in live.best.items()} | {f"good:{n}": t for n, t in live.good.items()}
            for quantity, values in trainer.optimizer(number).items():
                tensors |= {f"optimizer:{quantity}:{place:05}": t for place, t in enumerate(values)}
            live.run.save_checkpoint(STAGE, tensors, progress_of(live))
        self.saved_at = time.monotonic()
