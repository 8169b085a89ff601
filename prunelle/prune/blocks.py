"""Cutting whole residual blocks and residual links: what each costs in accuracy, what it saves, which to take."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunelle.errors import ModelError, SettingError
from prunelle.graph.cuts import Cuts, Replaced, replay_
from prunelle.graph.residuals import Kind, Residual, evaluating, find_residuals
from prunelle.graph.trace import as_inputs, reason
from prunelle.measure.accuracy import Evaluation
from prunelle.measure.latency import Timing, time_interleaved
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params

Judge = Callable[[nn.Module], Evaluation]
"""How good a model is, on images that choices are made on."""
Mend = Callable[[nn.Module, Cuts], nn.Module]
"""(what is left, all cuts that led there) -> a better one, such as with batch norm estimated anew; the one it is given
stays as it was."""
Clock = Callable[[nn.Module, nn.Module], Timing]
"""(before, after) -> what after takes, its ratio against before."""
BY: dict[Kind, Literal["identity", "nothing"]] = {"block": "identity", "link": "nothing"}


@dataclass(frozen=True)
class Trial:
    """How removals are tried. kinds: what may go. mend, clock: None = not done. retry: of how many of the formerly
    best the price is asked anew after each removal; None = all."""

    judge: Judge
    mend: Mend | None = None
    clock: Clock | None = None
    kinds: tuple[Kind, ...] = ("block",)
    retry: int | None = None

    def __post_init__(self) -> None:
        if self.retry is not None and self.retry < 1:
            raise SettingError(f"blocks: retry is {self.retry}, must be at least 1, or None to try all anew.")


@dataclass(frozen=True)
class Price:
    """What removing one module costs and saves when `num_gone` others are gone.

    difference: see graph.residuals. top1, loss: of what is left, mended. macs_saved: for the example inputs.
    ms_saved: of the median; speedup: before / after. Both None where no clock was given.
    """

    num_gone: int
    module: str
    kind: Kind
    difference: float
    top1: float
    loss: float
    macs_saved: int
    params_saved: int
    ms_saved: float | None = None
    speedup: float | None = None


@dataclass(frozen=True)
class Plan:
    """cuts: to be replayed on the model it was made for. taken: the price of each removal, in order. tried: every
    price that was asked for. macs_before, macs_after: for the example inputs."""

    cuts: Cuts
    taken: tuple[Price, ...]
    tried: tuple[Price, ...]
    macs_before: int
    macs_after: int

    def rows(self) -> list[dict[str, Any]]:
        """A tidy table: one dict a price, `taken` says whether that removal was made."""
        return [{**asdict(price), "taken": price in self.taken} for price in self.tried]


def plan_blocks(model: nn.Module, example_inputs: Any, modules: Sequence[str]) -> Cuts:
    """The cuts that take these blocks and links out of `model`; what lies within another of them goes with it.

    example_inputs: a tensor, or a tuple of positional arguments. Raises SettingError, saying why, for a module that
    cannot go; ModelError where the model runs on the inputs but would not without these modules.
    """
    residuals = find_residuals(model, example_inputs)
    known = {one.module: one for one in residuals.found}
    for name in modules:
        if name not in known:
            why = residuals.others.get(name, "is no module that ran")
            there = ", ".join(known) or "none"
            raise SettingError(f"{name}: cannot go: it {why}. What can: {there}.")
    cuts = Cuts()
    for name in dict.fromkeys(modules):
        if not any(name.startswith(f"{other}.") for other in modules):
            cuts = cuts.then(cuts_of(known[name]))
    check_runs(model, without(model, cuts), example_inputs)
    return cuts


def cuts_of(residual: Residual | Price) -> Cuts:
    return Cuts(replaced=[Replaced(module=residual.module, by=BY[residual.kind])])


def without(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy of `model` with the cuts made."""
    model = copy.deepcopy(model)
    replay_(model, cuts)
    return model


def check_runs(model: nn.Module, left: nn.Module, example_inputs: Any) -> None:
    """Raises ModelError unless what is left runs and gives the shapes that the model gave."""
    inputs = as_inputs(example_inputs)
    with torch.no_grad(), evaluating(model), evaluating(left):
        wanted = model(*inputs)
        try:
            found = left(*inputs)
        except Exception as error:  # a network may be anybody's code
            raise ModelError(f"blocks: what would be left does not run ({reason(error)}); leave one in.") from None
    if isinstance(wanted, Tensor) and wanted.shape != found.shape:
        raise ModelError(f"blocks: what would be left gives {tuple(found.shape)}, the model {tuple(wanted.shape)}.")


def rank_blocks(model: nn.Module, example_inputs: Any, trial: Trial) -> tuple[Price, ...]:
    """The price of removing each block or link alone, the smallest loss of top1 first.

    example_inputs: see plan_blocks; their batch is what MACs are counted for.
    """
    found = [one for one in find_residuals(model, example_inputs).found if one.kind in trial.kinds]
    prices = [price_of(model, Cuts(), example_inputs, one, trial) for one in found]
    return tuple(sorted(prices, key=lambda price: (-price.top1, price.loss)))


def price_of(model: nn.Module, gone: Cuts, example_inputs: Any, residual: Residual, trial: Trial) -> Price:
    """model: with `gone` cut out already."""
    left = without(model, cuts_of(residual))
    inputs = as_inputs(example_inputs)
    timing = trial.clock(model, left) if trial.clock else None
    judged = trial.judge(trial.mend(left, gone.then(cuts_of(residual))) if trial.mend else left)
    return Price(
        len(gone.replaced),
        residual.module,
        residual.kind,
        residual.difference,
        judged.top1,
        judged.loss,
        macs_saved=count_macs(model, inputs).total - count_macs(left, inputs).total,
        params_saved=count_params(model).params - count_params(left).params,
        ms_saved=timing.median_ms * ((timing.ratio or 1.0) - 1) if timing else None,
        speedup=timing.ratio if timing else None,
    )


def choose_blocks(
    model: nn.Module, example_inputs: Any, trial: Trial, *, macs: float | None = None, num: int | None = None
) -> Plan:
    """Take one block or link after another, always the cheapest of those left, prices asked anew each time.

    macs: take until this share of the multiply-adds is gone, the least top1 a multiply-add first; links save none and
    stay. num: take this many, the least top1 first. Exactly one of the two. Raises SettingError where there is less.
    """
    check_amount(macs, num)
    total = count_macs(model, as_inputs(example_inputs)).total
    plan = Plan(Cuts(), (), (), total, total)
    top1 = trial.judge(model).top1
    names: list[str] = []  # as dear as when last asked, the cheapest first
    while plan.macs_after > (1 - macs) * total if macs is not None else len(plan.taken) < (num or 0):
        left = without(model, plan.cuts)
        kinds = trial.kinds if macs is None else ("block",)
        found = [one for one in find_residuals(left, example_inputs).found if one.kind in kinds]
        if not found:
            asked = f"{num} blocks" if macs is None else f"{macs:.0%} of the MACs"
            raise SettingError(
                f"blocks: {asked} cannot be taken out; after {len(plan.taken)} nothing is left that could go, and "
                f"{1 - plan.macs_after / total:.1%} of the MACs are gone; ask for less, or prune channels too."
            )
        found.sort(key=lambda one: names.index(one.module) if one.module in names else len(names))
        again = found[: trial.retry] if names else found
        prices = [price_of(left, plan.cuts, example_inputs, one, trial) for one in again]
        prices.sort(key=lambda price: order_of(price, top1 if macs is not None else None))
        names = [price.module for price in prices] + [name for name in names if name not in {p.module for p in prices}]
        plan, top1 = take(plan, prices), prices[0].top1
    return plan


def order_of(price: Price, top1: float | None) -> tuple[float, float]:
    """Lower = taken earlier: the top1 lost, a multiply-add where the top1 before is given."""
    lost = -price.top1 if top1 is None else top1 - price.top1
    return lost / max(1, price.macs_saved) if top1 is not None and lost > 0 else lost, price.loss


def take(plan: Plan, prices: Sequence[Price]) -> Plan:
    """The plan with the first of these removals made."""
    best = prices[0]
    return Plan(
        plan.cuts.then(cuts_of(best)),
        (*plan.taken, best),
        (*plan.tried, *prices),
        plan.macs_before,
        plan.macs_after - best.macs_saved,
    )


def check_amount(macs: float | None, num: int | None) -> None:
    """Raises SettingError."""
    if (macs is None) == (num is None):
        raise SettingError(f"blocks: macs is {macs} and num is {num}; give one of them, the other None.")
    if macs is not None and not 0 <= macs < 1:
        raise SettingError(f"blocks: macs is {macs}, a share of the multiply-adds must lie in [0, 1).")
    if num is not None and num < 0:
        raise SettingError(f"blocks: num is {num}, must be 0 or more.")


def race(runtime: Callable[[nn.Module, Tensor, int], Callable[[Tensor], Tensor]], images: Tensor) -> Clock:
    """A clock: before and after in turns in one runtime (see ship.runtimes) on these images, on one thread."""

    def clock(before: nn.Module, after: nn.Module) -> Timing:
        calls = [partial(runtime(net, images, 1), images) for net in (before, after)]
        return time_interleaved(calls, threads=1)[1]

    return clock
