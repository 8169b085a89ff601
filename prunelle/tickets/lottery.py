"""What a search is: the network, how it is trained, the grid; and under which name each training stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel, check_fits, open_model
from prunelle.prune.by_weight import magnitude
from prunelle.prune.select import Scope, over_all
from prunelle.prune.statistics import Score
from prunelle.runs import Run
from prunelle.seeds import derive
from prunelle.tickets.grid import Grid, Member, dense
from prunelle.tickets.retire import NEVER, Retirement
from prunelle.train.settings import TrainSettings

MODEL = "model"


@dataclass(frozen=True)
class Lottery:
    """model: as `models.open.open_model` takes it. named: plain JSON that says all that a result depends on, part of
    every run's name. settings: of the dense run, from whose rewinding points the members go on to its end.
    finetune_lr: constant, for that variant. rewind_optimizer: its state goes back with the weights, else it begins
    fresh. Raises SettingError for settings that masks or `retirement` take the place of."""

    model: str
    named: Mapping[str, Any]
    settings: TrainSettings
    grid: Grid
    input_shape: Shape | None = None
    score: Score = field(default=magnitude)
    scope: Scope = field(default=over_all)
    finetune_lr: float = 1e-4
    rewind_optimizer: bool = False
    retirement: Retirement = NEVER
    trust: bool = False

    def __post_init__(self) -> None:
        if self.settings.average_epochs:
            raise SettingError(
                f"tickets: average_epochs is {self.settings.average_epochs:g} and masks hold the weights, which an "
                "average would not keep to; pass 0."
            )
        if self.settings.early_stop is not None:
            raise SettingError("tickets: early_stop is for single trainings; pass None and set retirement instead.")

    def steps_per_epoch(self, task: Task) -> int:
        return task.train.num_batches(self.settings.batch_size, drop_last=True)

    def updates(self, task: Task) -> int:
        """Of a dense run."""
        return self.settings.epochs * self.steps_per_epoch(task)

    def open(self, task: Task, seed: int) -> OpenedModel:
        """The untrained network of a seed. Raises what `open_model` raises, ModelError where it does not fit."""
        known = Path(self.model).is_dir()
        opened = open_model(
            self.model,
            input_shape=None if known else (self.input_shape or task.input_shape),
            num_classes=None if known else task.num_classes,
            trust=self.trust,
            seed=seed,
        )
        check_fits(opened, self.model, task)
        return opened


@dataclass(frozen=True)
class Place:
    """Where a search lives, and on what. checkpoint_seconds: how much training a kill may cost."""

    out: Path
    device: str = "cpu"
    checkpoint_seconds: float = 20.0


def named(lottery: Lottery, member: Member) -> dict[str, Any]:
    """The settings that give a member's run its name."""
    common = {**lottery.named, "rewinds": list(lottery.grid.rewinds)}
    if member.variant == "dense":
        return {"lottery": common, "variant": "dense"}
    return {
        "lottery": common,
        "variant": member.variant,
        "kept": member.kept,
        "rewind": member.rewind,
        "chain": list(member.chain),
    }


def run_of(lottery: Lottery, member: Member, place: Place) -> Run:
    """The run folder of a member, made when absent."""
    return Run.open(place.out / "runs", named(lottery, member), member.seed, place.device)


def folder_of(lottery: Lottery, member: Member, place: Place) -> Path:
    """Where a member's run stands or will stand; nothing is made."""
    return place.out / "runs" / Run.name_of(named(lottery, member), member.seed)


def is_done(lottery: Lottery, member: Member, place: Place) -> bool:
    return (folder_of(lottery, member, place) / "card.json").exists()


def dense_run(lottery: Lottery, member: Member, place: Place) -> Run:
    return run_of(lottery, dense(member.seed), place)


def order_seed(member: Member) -> int:
    """From which the order of the data, its augmentation and dropout are drawn: the dense run's, but for a twin."""
    return derive(member.seed, "twin") if member.variant == "twin" else member.seed


def first_update(member: Member) -> int:
    """Where a member's training begins. Fresh weights get the whole of it, more than the ticket has."""
    return 0 if member.variant in ("dense", "reinit") else member.rewind


def lr_at(lottery: Lottery, member: Member, update: int, steps_per_epoch: int) -> float:
    """The learning rate of a member's update number `update`, counted as in the dense run."""
    if member.variant == "finetune":
        return lottery.finetune_lr
    return lottery.settings.lr_at(update, steps_per_epoch)
