"""Which channels a member gives up, from what its own classes activate; and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from prunelle.classwise.activity import Activity, activity, ranks
from prunelle.data.task import Task
from prunelle.errors import MeasurementError, ModelError, SettingError
from prunelle.graph import costs
from prunelle.graph.cuts import Cut
from prunelle.graph.sets import Set, Tied
from prunelle.prune.by_activation import Activations, Key
from prunelle.prune.channel_scores import taylor
from prunelle.prune.channel_select import (
    ChannelScope,
    Limits,
    Removed,
    UnitScores,
    finished,
    reaching,
)
from prunelle.prune.channel_shares import by_cost
from prunelle.prune.channels import ChannelPlan, plan
from prunelle.prune.latency_target import MULTIPLES, Clock, LatencyPlan, Look, Target, plan_latency
from prunelle.prune.unit_scores import RowScore, Scorer
from prunelle.ship.eager import eager
from prunelle.ship.runtimes import Runtime
from prunelle.train.identity import plain

EXAMPLES = 2
"""Images that a member is traced with: the single output of one image proves nothing."""


@dataclass(frozen=True)
class Cutting:
    """How far a member is cut: to `target_macs` of the whole network's multiply-adds, until one image takes as long as
    `latency` allows, or by two thresholds; one of the three.

    score: of rows of weights, on the member's own task; see prune.channel_scores. None: of activity, so that the
    target chooses the two thresholds. scope: how amounts are spread. apoz, mean: a channel goes whose average
    percentage of zeros (a fraction) is above the one and whose mean activation, over its layer's, is below the other.
    zero: activations at or below it count as zeros. floor: channels that every layer keeps. multiple: kept widths are
    rounded up to one. keep_residual: leave whole what residual sums carry, unless the target is out of reach so.
    latency: measured here, against the member before its cut, in `runtime` with one thread. Raises SettingError.
    """

    target_macs: float | None = 0.5
    score: RowScore | None = taylor
    scope: ChannelScope = by_cost
    apoz: float | None = None
    mean: float | None = None
    zero: float = 0.0
    floor: int = 4
    multiple: int = 1
    keep_residual: bool = True
    latency: Target | None = None
    runtime: Runtime = eager

    def __post_init__(self) -> None:
        targets = (self.target_macs, self.latency, self.apoz)
        if sum(one is not None for one in targets) != 1 or (self.apoz is None) != (self.mean is None):
            raise SettingError(
                f"classwise: target_macs is {self.target_macs}, latency {self.latency}, apoz {self.apoz}, mean "
                f"{self.mean}; give target_macs alone, latency alone, or both thresholds."
            )
        if self.latency is not None and self.score is None:
            raise SettingError("classwise: a latency target needs a score of weights; give one, or target_macs.")
        if self.target_macs is not None and not 0 < self.target_macs <= 1:
            raise SettingError(f"--target-macs {self.target_macs}: must be above 0 and at most 1.")

    @property
    def limits(self) -> Limits:
        return Limits(self.floor, self.multiple)


@dataclass(frozen=True)
class Evidence:
    """What is known of the network that members are cut from. activations: by class, see prune.by_activation; a member
    has the same graph, its head apart. macs: of one image, of the whole network. carried: paths of the layers whose
    channels residual sums carry."""

    activations: Mapping[Key, Activations]
    macs: float
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class MemberPlan:
    """plan: what goes, with its proof. activity: of the units of plan.tied, over the member's classes. looks: times
    that were measured on the way."""

    plan: ChannelPlan
    activity: Activity
    looks: tuple[Look, ...] = ()


def plan_member(
    member: nn.Module,
    task: Task,
    group: Sequence[int],
    evidence: Evidence,
    cutting: Cutting,
    seed: int = 0,
) -> MemberPlan:
    """What a member gives up.

    member: as `head.wide_member_of` or `member_of` makes it. task: the member's, which scores look at.
    One that is fast enough already stays whole. Raises ModelError where so much cannot go, or nothing,
    MeasurementError where no cut meets a latency target.
    """
    example = next(iter(task.val.epoch(EXAMPLES)))[0]
    if cutting.latency is not None:
        found = cut_to_time(member, example[:1], task, evidence, cutting, seed)
        return MemberPlan(found.plan, activity(found.plan.tied, evidence.activations, group), found.looks)
    scorer = None if cutting.score is None else Scorer(member, cutting.score, seed, task)
    seen: dict[int, Activity] = {}

    def select(tied: Tied) -> Removed:
        found = seen[id(tied)] = activity(tied, evidence.activations, group)
        order = ranks(tied, found) if scorer is None else scorer(tied)
        return chosen(tied, found, order, cutting, len(example) * evidence.macs)

    skip = evidence.carried if cutting.keep_residual else ()
    try:
        made = plan(member, example, select, skip)
    except ModelError:
        if not skip:
            raise
        made = plan(member, example, select)
    return MemberPlan(made, seen[id(made.tied)])


def cut_to_time(
    member: nn.Module, image: Tensor, task: Task, evidence: Evidence, cutting: Cutting, seed: int
) -> LatencyPlan:
    """What goes until one image takes as long as it may. Raises as `plan_member`."""
    assert cutting.latency is not None and cutting.score is not None
    skip = evidence.carried if cutting.keep_residual else ()
    search = partial(
        plan_latency,
        member,
        cutting.latency,
        Clock(cutting.runtime, image),
        multiples=MULTIPLES if cutting.multiple == 1 else (cutting.multiple,),
        score=cutting.score,
        scope=cutting.scope,
        floor=cutting.floor,
        seed=seed,
        task=task,
    )
    try:
        return search(skip=skip)
    except (MeasurementError, ModelError):
        if not skip:
            raise
        return search()


def chosen(tied: Tied, found: Activity, order: UnitScores, cutting: Cutting, whole_macs: float) -> Removed:
    """(labels,) True by unit that goes. order: scores by unit, higher = keep. whole_macs: for as many images as `tied`
    was traced with. Raises ModelError."""
    if cutting.apoz is not None and cutting.mean is not None:
        with np.errstate(invalid="ignore"):
            idle = (found.apoz > cutting.apoz) & (found.mean < cutting.mean)
        return finished(tied, order, candidates(tied, idle), cutting.limits)

    assert cutting.target_macs is not None

    def share(removed: Removed) -> float:
        return costs.macs(tied, removed) / whole_macs

    nothing = np.zeros(len(order), dtype=bool)
    if cutting.target_macs >= 1 or share(nothing) <= cutting.target_macs:
        return nothing
    return reaching(tied, order, cutting.scope, cutting.limits, cutting.target_macs, share, "multiply-adds")


def candidates(tied: Tied, idle: Removed) -> Removed:
    """Those that are units of a set; each set keeps one at least."""
    removed = np.zeros_like(idle)
    for one in tied.sets:
        removed[one.units] = idle[one.units]
        if removed[one.units].all():
            removed[one.units[-1]] = False
    return removed


def to_json(made: MemberPlan, class_names: Sequence[str], cutting: Cutting, fingerprint: str) -> dict[str, Any]:
    """The candidates as plain values: {classes, data (fingerprint), score, zero, floor, thresholds, latency, sets,
    tensors}.

    thresholds: {apoz, mean} as asked for, None where a target chose them. sets: {set, channels, removed, apoz, mean}:
    the lowest APoZ and the highest mean among those removed, None where nothing goes. tensors: {tensor, axis, groups,
    removed (indices, of each group's block after another's)} by the name of the parameter or buffer.
    """
    plan = made.plan
    told = {"apoz": cutting.apoz, "mean": cutting.mean}
    return {
        "classes": list(class_names),
        "data": fingerprint,
        "score": "activity" if cutting.score is None else cutting.score.__name__,
        "zero": cutting.zero,
        "floor": cutting.floor,
        "thresholds": told if cutting.apoz is not None else None,
        "latency": None if cutting.latency is None else latency_line(made, cutting.latency, cutting.runtime),
        "sets": [set_line(one, plan.removed, made.activity) for one in plan.tied.sets],
        "tensors": [
            {"tensor": cut.tensor, "axis": cut.axis, "groups": cut.groups, "removed": gone(cut, size)}
            for cut, size in ((cut, size_of(plan.tied, cut.tensor, cut.axis)) for cut in plan.cuts.tensors)
        ],
    }


def latency_line(made: MemberPlan, target: Target, runtime: Runtime) -> dict[str, Any]:
    """{ratio, ms, runtime, looks}: what was asked for, and what was measured, see prune.latency_target.Look."""
    looks = [asdict(look) for look in made.looks]
    return {"ratio": target.ratio, "ms": target.ms, "runtime": plain(runtime), "looks": looks}


def set_line(one: Set, removed: Removed, found: Activity) -> dict[str, Any]:
    units = one.units[removed[one.units]]
    apoz, mean = found.apoz[units], found.mean[units]
    known = bool(len(units)) and not (np.isnan(apoz).all() or np.isnan(mean).all())
    return {
        "set": one.name,
        "channels": len(one.units),
        "removed": len(units),
        "apoz": float(np.nanmin(apoz)) if known else None,
        "mean": float(np.nanmax(mean)) if known else None,
    }


def size_of(tied: Tied, tensor: str, axis: int) -> int:
    """How long an axis of a parameter or buffer was."""
    node = next(name for name, own in tied.graph.tensors.items() if own == tensor)
    value = next(n for n in tied.graph.nodes if n.name == node).meta["val"]
    return int(value.shape[axis])


def gone(cut: Cut, size: int) -> list[int]:
    """The indices of an axis so long that are not kept, block by block.

    >>> gone(Cut(tensor="weight", axis=0, kept=[0, 2]), 4)
    [1, 3]
    >>> gone(Cut(tensor="weight", axis=1, kept=[0, 2, 1, 2], groups=2), 3)
    [1, 0]
    """
    return [index for kept in map(set, cut.blocks()) for index in range(size) if index not in kept]
