"""The step that cuts whole residual blocks and links. What it cut is kept in its run."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from prunelle.data.task import Task
from prunelle.graph.cuts import Cuts
from prunelle.graph.residuals import Kind
from prunelle.measure.accuracy import evaluate
from prunelle.prune.blocks import Plan, Trial, check_amount, choose_blocks, without
from prunelle.prune.channel_repairs import batch_norm_repair
from prunelle.prune.channel_steps import Repair, example_of, repaired
from prunelle.prune.stored_cut import StoredCut, cuts_of, store_cut, stored_cut
from prunelle.runs import Run
from prunelle.train.identity import identity


@dataclass(frozen=True)
class RemoveBlocks:
    """Take out blocks or links, the cheapest on val first, and repair what is left. No training.

    macs, num: how much, see blocks.choose_blocks. kinds, retry: see blocks.Trial. repairs: see prune.channel_repairs,
    in their order; they also come before each trial is judged. Raises SettingError where there is less to take.
    """

    macs: float | None = None
    num: int | None = None
    kinds: tuple[Kind, ...] = ("block",)
    retry: int | None = 3
    repairs: tuple[Repair, ...] = (batch_norm_repair,)
    name: str = "blocks"

    def __post_init__(self) -> None:
        check_amount(self.macs, self.num)

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        return self.cut(model, task, run).model

    def cut(self, model: nn.Module, task: Task, run: Run) -> StoredCut:
        """The cut network, with {"rows": see blocks.Plan, "macs_before", "macs_after"}. Made once a run."""
        begun = f"{identity(self, model)} {task.fingerprint}"
        found = stored_cut(run, self.name, begun, model)
        if found is None:
            dense = copy.deepcopy(model).to(run.device)
            plan = self.plan(dense, task, run)
            left = self.mended(without(dense, plan.cuts), dense, plan.cuts, task, run)
            about = {"rows": plan.rows(), "macs_before": plan.macs_before, "macs_after": plan.macs_after}
            found = StoredCut(left, plan.cuts, about)
            store_cut(run, self.name, begun, found)
        return found

    def plan(self, model: nn.Module, task: Task, run: Run) -> Plan:
        """What goes, and what everything that was tried costs. model: on the run's device."""
        trial = Trial(
            lambda net: evaluate(net, task.val, task.loss, task.metric),
            lambda left, cuts: self.mended(left, model, cuts, task, run),
            kinds=self.kinds,
            retry=self.retry,
        )
        return choose_blocks(model, example_of(task), trial, macs=self.macs, num=self.num)

    def mended(self, left: nn.Module, dense: nn.Module, cuts: Cuts, task: Task, run: Run) -> nn.Module:
        """After the repairs, which see the same images each time."""
        return repaired(left, dense, cuts, self.repairs, task, run, self.name)

    def cuts(self, run: Run) -> Cuts:
        """What was cut in this run; nothing before it was called."""
        return cuts_of(run, self.name)
