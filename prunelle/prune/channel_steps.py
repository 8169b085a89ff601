"""Steps that cut whole channels: at once, and in rounds with fine-tuning between. What each cut is kept in its run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.graph.cuts import Cuts
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import ChannelScope, Limits, per_set
from prunelle.prune.channels import SIZES, ChannelPlan, plan, selector
from prunelle.prune.stored_cut import StoredCut, cut_once, cuts_of
from prunelle.prune.unit_scores import RowScore, Scorer
from prunelle.runs import Run
from prunelle.schedules import Schedule, linear
from prunelle.seeds import derive
from prunelle.train.identity import identity
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

Repair = Callable[[nn.Module, nn.Module, Cuts, Task, torch.Generator], nn.Module]
"""(pruned, dense, cuts, task, generator on the run's device) -> mended; both models stay as they were."""


@dataclass(frozen=True)
class PruneChannels:
    """One shot: cut the share `amount` of the channels, then repair. No training.

    amount, of, score, scope, floor, multiple, skip: see prune.channels.prune_channels. repairs: see
    prune.channel_repairs, in their order. before: what the amount is a share of, where earlier cuts took some of it
    already (counted as `of` counts); None: what the model has. Raises SettingError, ModelError.
    """

    amount: float
    of: str = "channels"
    score: RowScore = l2_norm
    scope: ChannelScope = per_set
    floor: int = 1
    multiple: int = 1
    skip: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    name: str = "channels"
    before: float | None = None

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        return self.cut(model, task, run).model

    def cut(self, model: nn.Module, task: Task, run: Run) -> StoredCut:
        """The cut network, with {"before", "after"} as `of` counts them. Made once a run."""
        begun = f"{identity(self, model)} {task.fingerprint}"
        return cut_once(run, self.name, begun, model, lambda: self.make(model, task, run))

    def make(self, model: nn.Module, task: Task, run: Run) -> StoredCut:
        dense = copy.deepcopy(model).to(run.device)
        made = self.plan(dense, task, run)
        size = SIZES[self.of]
        sizes = {
            "before": float(size(made.tied, np.zeros_like(made.removed))),
            "after": float(size(made.tied, made.removed)),
        }
        pruned = repaired(made.apply(dense), dense, made.cuts, self.repairs, task, run, self.name)
        return StoredCut(pruned, made.cuts, sizes)

    def plan(self, model: nn.Module, task: Task, run: Run) -> ChannelPlan:
        """What goes. model: on the run's device."""
        scorer = Scorer(model, self.score, derive(run.seed, self.name), task)
        limits = Limits(self.floor, self.multiple)
        select = selector(scorer, self.amount, self.scope, self.of, limits, self.before)
        return plan(model, example_of(task), select, self.skip)

    def cuts(self, run: Run) -> Cuts:
        """What was cut in this run; nothing before it was called."""
        return cuts_of(run, self.name)


@dataclass(frozen=True)
class PruneChannelsGradually:
    """Cut in rounds, and train after each, until the share `amount` of the first network is gone.

    settings: of one round's training. shape: share of the amount that is gone after the share k / rounds of the rounds.
    All else as in PruneChannels; repairs come before each training. Raises SettingError, ModelError, DivergedError.
    """

    amount: float
    rounds: int
    settings: TrainSettings
    of: str = "channels"
    score: RowScore = l2_norm
    scope: ChannelScope = per_set
    floor: int = 1
    multiple: int = 1
    skip: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    shape: Schedule = linear
    name: str = "channels"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError(f"{self.name}: rounds is {self.rounds}, must be at least 1.")

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        before: float | None = None
        for number in range(self.rounds):
            cut = self.step(number, before).cut(model, task, run)
            before = cut.about["before"] if before is None else before
            model = Train(self.settings, f"{self.name}-train{number}")(cut.model, task, run)
        return model

    def step(self, number: int, before: float | None) -> PruneChannels:
        """The cut of one round."""
        return PruneChannels(
            amount=self.amount * self.shape((number + 1) / self.rounds),
            of=self.of,
            score=self.score,
            scope=self.scope,
            floor=self.floor,
            multiple=self.multiple,
            skip=self.skip,
            repairs=self.repairs,
            name=f"{self.name}-cut{number}",
            before=before,
        )

    def cuts(self, run: Run) -> Cuts:
        """What was cut in this run so far."""
        return cuts_of(run, *[f"{self.name}-cut{number}" for number in range(self.rounds)])


def repaired(
    pruned: nn.Module,
    dense: nn.Module,
    cuts: Cuts,
    repairs: tuple[Repair, ...],
    task: Task,
    run: Run,
    name: str,
) -> nn.Module:
    """After all repairs, each on images of its own. Where nothing was cut there is nothing to repair."""
    if cuts.tensors or cuts.replaced:
        for number, repair in enumerate(repairs):
            pruned = repair(pruned, dense, cuts, task, run.generator(name, "repair", number))
    return pruned


def example_of(task: Task) -> Tensor:
    """One image of val, preprocessed: what a network is traced with."""
    return next(iter(task.val.epoch(1)))[0]
