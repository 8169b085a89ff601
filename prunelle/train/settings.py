"""What a training is told: frozen values, no words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import nn

from prunelle.errors import SettingError
from prunelle.schedules import Schedule, cosine
from prunelle.train.optimizers import Optimizer, Sgd
from prunelle.train.precision import FP32, Precision

UNSAID = {"unsaid": True}
"""Of a setting that came later: at its default it is not part of what a training is (train.identity), so that trainings
of before are found again."""


@dataclass(frozen=True)
class EarlyStop:
    """Stop when val has not improved by more than `min_gain` for `patience` epochs, or has reached `target`; both are
    fractions, None = never. restore_best: the weights best on val are taken, whatever they gained; else those of the
    epoch it stops after, for where val goes up and down by more than it still gains, its best is luck. audit: go on to
    the last epoch all the same, with the same result, so that what stopping costs can be measured on the weights it
    ends with: those of the last epoch, or their average, of one that diverges on the way those of the epoch before."""

    patience: int | None = None
    target: float | None = None
    min_gain: float = 0.0
    restore_best: bool = field(default=True, metadata=UNSAID)
    audit: bool = False


@dataclass(frozen=True)
class Teacher:
    """A network to imitate; see losses.Distillation. model: None where the targets bring its outputs, see
    losses.ToldDistillation. views: numbers of the outputs that are compared with each other, a tuple for each
    comparison; none compares all."""

    model: nn.Module | None
    temperature: float = 4.0
    weight: float = 0.9
    views: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    lr is multiplied by schedule(progress); over the first warmup_epochs it rises linearly from 0. best_from: the
    progress from which on the weights best on val may be chosen; 1 keeps the last ones, but early stopping has its own
    rule. average_epochs: val looks at a running average of weights and buffers over about a tenth of the updates so
    far, at most those of so many epochs, and that is what the training gives; 0 for none; see train.averaging. A
    checkpoint is written every checkpoint_seconds, or every checkpoint_steps updates where given.
    """

    epochs: int
    lr: float
    batch_size: int = 128
    optimizer: Optimizer = field(default_factory=Sgd)
    schedule: Schedule = cosine
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    precision: Precision = FP32
    teacher: Teacher | None = None
    early_stop: EarlyStop | None = None
    best_from: float = 1.0
    average_epochs: float = field(default=0.0, metadata=UNSAID)
    checkpoint_seconds: float = 20.0
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        steps, patience = self.checkpoint_steps, self.early_stop.patience if self.early_stop else None
        for name, value, ok, allowed in (
            ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
            ("lr", self.lr, 0 < self.lr < math.inf, "above 0"),
            ("batch_size", self.batch_size, self.batch_size >= 1, "at least 1"),
            ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs <= self.epochs, "between 0 and epochs"),
            ("best_from", self.best_from, 0 <= self.best_from <= 1, "in [0, 1]"),
            ("average_epochs", self.average_epochs, 0 <= self.average_epochs < math.inf, "at least 0"),
            ("checkpoint_steps", steps, steps is None or steps >= 1, "at least 1"),
            ("patience", patience, patience is None or patience >= 1, "at least 1"),
        ):
            if not ok:
                raise SettingError(f"training: {name} is {value}, must be {allowed}.")

    @property
    def audited(self) -> bool:
        """Whether a training that would stop early goes on all the same."""
        return self.early_stop is not None and self.early_stop.audit

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of update number `step` (from 0)."""
        warmup = self.warmup_epochs * steps_per_epoch
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return self.lr * rise * self.schedule(step / (self.epochs * steps_per_epoch))
