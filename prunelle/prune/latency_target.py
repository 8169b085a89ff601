"""Channels cut until a runtime on this machine takes as long as was asked for: measured, never derived from counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import MeasurementError, SettingError
from prunelle.graph.costs import macs
from prunelle.graph.sets import Tied
from prunelle.measure.latency import Timing, time_interleaved
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import ChannelScope, Limits, Removed, per_set
from prunelle.prune.channels import ChannelPlan, plan, untouched
from prunelle.prune.cut_path import cut_path
from prunelle.prune.unit_scores import RowScore, Scorer
from prunelle.ship.runtimes import Runtime

MULTIPLES = (1, 4, 8, 16)
"""Of widths, unless others are asked for."""
TRIES = 6
"""Cuts that are measured for one multiple before another multiple is taken."""
ALIKE = 0.03
"""Multiples whose gains differ by less are alike, and the smaller one is taken: it has more cuts to choose from."""


@dataclass(frozen=True)
class Target:
    """How long the cut network may take: `ratio` times the dense one, or `ms` milliseconds a call; one of them.

    slack: it may be faster by this share of the target, not slower. Raises SettingError.
    """

    ratio: float | None = None
    ms: float | None = None
    slack: float = 0.1

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.ms is None):
            raise SettingError(f"latency: ratio is {self.ratio} and ms is {self.ms}; give one of them, the other None.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise SettingError(f"latency: ratio is {self.ratio}, must lie between 0 and 1: cut time over dense time.")
        if self.ms is not None and not self.ms > 0:
            raise SettingError(f"latency: ms is {self.ms}, must be above 0.")
        if not 0 < self.slack < 1:
            raise SettingError(f"latency: slack is {self.slack}, must lie between 0 and 1.")

    def used(self, timing: Timing) -> float:
        """Time taken over time allowed."""
        assert timing.ratio is not None
        return 1 / timing.ratio / self.ratio if self.ratio is not None else timing.median_ms / (self.ms or 1.0)

    def met(self, used: float) -> bool:
        return 1 - self.slack <= used <= 1


@dataclass(frozen=True)
class Clock:
    """What times are taken of. runtime: see ship.runtimes. images: (batch, C, H, W), one call's. seconds: of each look
    and network, at least; confirm_seconds: of the last one."""

    runtime: Runtime
    images: Tensor = field(repr=False)
    threads: int = 1
    seconds: float = 1.0
    confirm_seconds: float = 5.0

    def load(self, model: nn.Module) -> Callable[[], Tensor]:
        return partial(self.runtime(model, self.images, self.threads), self.images)

    def race(self, runs: Sequence[Callable[[], Tensor]], seconds: float) -> tuple[Timing, ...]:
        """In turns; ratios are to the first."""
        return time_interleaved(runs, device=self.images.device, threads=self.threads, min_seconds=seconds)


@dataclass(frozen=True)
class Look:
    """One measurement of one cut. macs: share of the multiply-adds that it leaves. ratio: cut time over dense time, in
    turns, with its interval. used: time over the time allowed. final: measured for as long as a result is."""

    multiple: int
    macs: float
    ratio: float
    ratio_low: float
    ratio_high: float
    median_ms: float
    dense_ms: float
    used: float
    final: bool


@dataclass(frozen=True)
class LatencyPlan:
    """plan: of the cut that met the target. looks: everything that was measured, the last one of that cut."""

    plan: ChannelPlan
    looks: tuple[Look, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [asdict(look) for look in self.looks]


def plan_latency(
    model: nn.Module,
    target: Target,
    clock: Clock,
    *,
    multiples: tuple[int, ...] = MULTIPLES,
    score: RowScore = l2_norm,
    scope: ChannelScope = per_set,
    floor: int = 1,
    skip: tuple[str, ...] = (),
    seed: int = 0,
    task: Task | None = None,
) -> LatencyPlan:
    """The cut after which one call takes as long as `target` allows, on this machine.

    multiples: widths to try; the one that saves most time for the multiply-adds it takes is kept to. All else as in
    prune.channels.prune_channels. First a cut of each multiple is timed in turns with the dense network, then the share
    of multiply-adds is narrowed down, and what seems to meet the target is timed once more, for longer.
    A network that is fast enough as it stands is left whole. Raises MeasurementError, telling the nearest cut, when
    none meets the target, ModelError, SettingError.
    """
    if not multiples:
        raise SettingError("latency: multiples is empty; give (1,) to leave widths as they fall.")
    scorer = Scorer(model, score, seed, task)

    def cuts(multiple: int, wanted: float, low: float = 0.0, high: float = 1.0) -> ChannelPlan:
        def select(tied: Tied) -> Removed:
            path = cut_path(tied, scorer(tied), scope, Limits(floor, multiple))
            found = path.between(wanted, low, high)
            if found is None:
                raise _NothingBetween
            return found

        return plan(model, clock.images[:1], select, skip, seed)

    return Search(model, target, clock, cuts).run(multiples)


class _NothingBetween(Exception):
    """No cut lies between two that were measured."""


@dataclass(frozen=True)
class Candidate:
    """A proved cut, ready to run. macs: share of the multiply-adds that it leaves."""

    multiple: int
    plan: ChannelPlan
    macs: float
    run: Callable[[], Tensor]


class Search:
    """One search in progress. Final; made and used by `plan_latency` only.

    cuts: (multiple, share of multiply-adds wanted, between low, and high) -> a proved cut; raises _NothingBetween.
    """

    def __init__(self, model: nn.Module, target: Target, clock: Clock, cuts: Callable[..., ChannelPlan]) -> None:
        self.model, self.target, self.clock, self.cuts = model, target, clock, cuts
        self.dense = clock.load(model)
        self.looks: list[Look] = []

    def run(self, multiples: tuple[int, ...]) -> LatencyPlan:
        allowed = self.allowed()
        if allowed >= 1:
            whole = untouched(self.model, self.clock.images[:1])
            return LatencyPlan(whole, ())
        tried = [one for each in multiples if (one := self.candidate(each, allowed)) is not None]
        looks = self.look(tried, self.clock.seconds)
        for first, look in sorted(zip(tried, looks, strict=True), key=ranking(looks)):
            found = self.narrowed(first, look)
            if found is not None:
                return LatencyPlan(found, tuple(self.looks))
        raise MeasurementError(self.missed())

    def allowed(self) -> float:
        """The time allowed over the dense time, about."""
        if self.target.ratio is not None:
            return self.target.ratio
        (timing, _) = self.clock.race([self.dense, self.dense], self.clock.seconds)
        return (self.target.ms or 0.0) / timing.median_ms

    def candidate(self, multiple: int, wanted: float, low: float = 0.0, high: float = 1.0) -> Candidate | None:
        """The cut nearest to a share of the multiply-adds; None when there is none between low and high."""
        try:
            made = self.cuts(multiple, wanted, low, high)
        except _NothingBetween:
            return None
        share = macs(made.tied, made.removed) / macs(made.tied, np.zeros_like(made.removed))
        return Candidate(multiple, made, share, self.clock.load(made.apply(self.model)))

    def narrowed(self, tried: Candidate, look: Look) -> ChannelPlan | None:
        """Cuts between the nearest that was too slow and the nearest too fast, until one meets the target; both are
        (share of multiply-adds, time used)."""
        aim = 1 - self.target.slack / 2
        slow, fast = (1.0, look.used / look.ratio), (0.0, 0.0)
        for _ in range(TRIES):
            if self.target.met(look.used):
                (look,) = self.look([tried], self.clock.confirm_seconds, final=True)
                if self.target.met(look.used):
                    return tried.plan
            if look.used > aim:
                slow = min(slow, (tried.macs, look.used))
            else:
                fast = max(fast, (tried.macs, look.used))
            along = min(max((aim - fast[1]) / max(slow[1] - fast[1], 1e-9), 0.1), 0.9)
            further = self.candidate(tried.multiple, fast[0] + along * (slow[0] - fast[0]), fast[0], slow[0])
            if further is None:
                return None
            tried = further
            (look,) = self.look([tried], self.clock.seconds)
        return None

    def look(self, tried: Sequence[Candidate], seconds: float, final: bool = False) -> list[Look]:
        """Time cuts in turns with the dense network."""
        dense, *timings = self.clock.race([self.dense, *[one.run for one in tried]], seconds)
        looks = []
        for one, timing in zip(tried, timings, strict=True):
            assert timing.ratio is not None and timing.ratio_low is not None and timing.ratio_high is not None
            ratios = 1 / timing.ratio, 1 / timing.ratio_high, 1 / timing.ratio_low
            used = self.target.used(timing)
            looks.append(Look(one.multiple, one.macs, *ratios, timing.median_ms, dense.median_ms, used, final))
        self.looks += looks
        return looks

    def missed(self) -> str:
        """What to say when no cut met the target."""
        if not self.looks:
            return "latency: no cut of these multiples is smaller than the network; give smaller multiples."
        nearest = min(self.looks, key=lambda look: abs(look.used - 1 + self.target.slack / 2))
        return (
            f"latency: no cut took between {1 - self.target.slack:.2f} and 1 of the time allowed; the nearest took "
            f"{nearest.used:.2f} of it ({nearest.median_ms:.3g} ms, {nearest.ratio:.2f} of the dense time, with "
            f"{nearest.macs:.0%} of the multiply-adds); allow another time or more slack."
        )


def ranking(looks: Sequence[Look]) -> Callable[[tuple[Candidate, Look]], tuple[bool, float]]:
    """Sorts multiples: those alike to the best by size, then the others by gain."""
    best = max((gain(look) for look in looks), default=0.0)

    def key(pair: tuple[Candidate, Look]) -> tuple[bool, float]:
        mine = gain(pair[1])
        worse = mine < best - ALIKE * abs(best)
        return worse, -mine if worse else float(pair[1].multiple)

    return key


def gain(look: Look) -> float:
    """Share of the time saved for each share of multiply-adds taken."""
    return (1 - look.ratio) / (1 - look.macs)
