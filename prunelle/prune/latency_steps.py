"""A step that cuts channels down to a time: its choice rests on what was measured, so the run keeps it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from prunelle.data.task import Task
from prunelle.graph.cuts import Cuts
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import ChannelScope, per_set
from prunelle.prune.channel_steps import Repair, repaired
from prunelle.prune.latency_target import Clock, LatencyPlan, Target, plan_latency
from prunelle.prune.stored_cut import StoredCut, cut_once, cuts_of
from prunelle.prune.unit_scores import RowScore
from prunelle.runs import Run
from prunelle.seeds import derive
from prunelle.ship.runtimes import Runtime
from prunelle.train.identity import identity


@dataclass(frozen=True)
class PruneToLatency:
    """Cut channels until `runtime` takes as long as `target` allows for `batch_size` images on this machine, then
    repair. No training.

    multiples: see prune.latency_target.plan_latency; all else as in PruneChannels. Called again on the same run it
    gives the same network, on a faster machine too. Raises MeasurementError, ModelError, SettingError.
    """

    target: Target
    runtime: Runtime
    batch_size: int = 1
    threads: int = 1
    multiples: tuple[int, ...] = (1, 4, 8, 16)
    score: RowScore = l2_norm
    scope: ChannelScope = per_set
    floor: int = 1
    skip: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    seconds: float = 1.0
    confirm_seconds: float = 5.0
    name: str = "latency"

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        return self.cut(model, task, run).model

    def cut(self, model: nn.Module, task: Task, run: Run) -> StoredCut:
        """The cut network, with {"looks"}: every time that was measured on the way. Made once a run."""
        begun = f"{identity(self, model)} {task.fingerprint}"
        return cut_once(run, self.name, begun, model, lambda: self.make(model, task, run))

    def make(self, model: nn.Module, task: Task, run: Run) -> StoredCut:
        dense = copy.deepcopy(model).to(run.device)
        made = self.plan(dense, task, run)
        pruned = repaired(made.plan.apply(dense), dense, made.plan.cuts, self.repairs, task, run, self.name)
        return StoredCut(pruned, made.plan.cuts, {"looks": made.rows()})

    def plan(self, model: nn.Module, task: Task, run: Run) -> LatencyPlan:
        """What goes, as measured now. model: on the run's device."""
        images = next(iter(task.val.epoch(self.batch_size)))[0]
        images = images.repeat(-(-self.batch_size // len(images)), 1, 1, 1)[: self.batch_size]
        clock = Clock(self.runtime, images, self.threads, self.seconds, self.confirm_seconds)
        return plan_latency(
            model,
            self.target,
            clock,
            multiples=self.multiples,
            score=self.score,
            scope=self.scope,
            floor=self.floor,
            skip=self.skip,
            seed=derive(run.seed, self.name),
            task=task,
        )

    def cuts(self, run: Run) -> Cuts:
        """What was cut in this run; nothing before it was called."""
        return cuts_of(run, self.name)
