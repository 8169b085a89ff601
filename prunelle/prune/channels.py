"""Structured pruning: whole channels, heads and units go, with everything that is tied to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from prunelle.data.task import Task
from prunelle.errors import ModelError, SettingError
from prunelle.graph import costs
from prunelle.graph.attributes import attributes
from prunelle.graph.copies import as_type, own_, randomised
from prunelle.graph.cut import tensor_cuts
from prunelle.graph.cuts import Cuts
from prunelle.graph.prove import Proof, cut_copy, prove, runs
from prunelle.graph.sets import Frozen, Known, Tied, analyse
from prunelle.graph.trace import as_inputs, trace
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import ChannelScope, Limits, Removed, per_set, reaching
from prunelle.prune.lessons import draw
from prunelle.prune.unit_scores import RowScore, Scorer

ATTEMPTS = 40
DRAWS = 3


@dataclass(frozen=True)
class ChannelPlan:
    """What goes, before anything is touched, and the proof that it can. removed: (labels,) True by unit of `tied`."""

    tied: Tied = field(repr=False)
    removed: Removed = field(repr=False)
    cuts: Cuts = field(repr=False)
    frozen: tuple[Frozen, ...] = field(repr=False)
    proof: Proof = field(default_factory=lambda: Proof(0.0))

    def apply(self, model: nn.Module) -> nn.Module:
        """A cut copy of a model of the planned one's shapes, with its values; the model stays as it was."""
        return own_(cut_copy(model, self.tied, self.removed, self.cuts), model)

    def prove(self, model: nn.Module, example_inputs: Any, dtype: torch.dtype = torch.float64) -> Proof:
        """Cut against masked with the model's own values."""
        dense = copy.deepcopy(model).to("cpu", dtype).eval()
        return prove(dense, as_type(as_inputs(example_inputs), dtype), self.tied, self.removed, self.cuts)


def prune_channels(
    model: nn.Module,
    example_inputs: Any,
    amount: float = 0.5,
    *,
    score: RowScore = l2_norm,
    scope: ChannelScope = per_set,
    of: str = "channels",
    floor: int = 1,
    multiple: int = 1,
    skip: tuple[str, ...] = (),
    seed: int = 0,
    task: Task | None = None,
) -> nn.Module:
    """A smaller module of the same class, in which the share `amount` of the channels is gone. No training.

    model: any nn.Module that torch.export can trace; it stays as it was. example_inputs: a tensor or a tuple of
    positional arguments. score: of each row of a weight, see prune.channel_scores. scope: how amounts are spread, see
    prune.channel_select. of: what `amount` is a share of: channels, macs or params. floor: channels that every set
    keeps. multiple: kept widths are rounded up to a multiple. skip: paths of modules whose channels stay. task: where
    training images come from, for the scores that look at them.
    The result equals the model with those channels masked (set to 0 after their last norm), which is checked by
    running both on random weights in float64; what cannot be cut is left whole, see `plan_channels(...).frozen`.
    Raises ModelError when the model cannot be traced or nothing of it can be cut, SettingError.
    """
    found = plan_channels(
        model,
        example_inputs,
        amount,
        score=score,
        scope=scope,
        of=of,
        floor=floor,
        multiple=multiple,
        skip=skip,
        seed=seed,
        task=task,
    )
    return found.apply(model)


def plan_channels(
    model: nn.Module,
    example_inputs: Any,
    amount: float = 0.5,
    *,
    score: RowScore = l2_norm,
    scope: ChannelScope = per_set,
    of: str = "channels",
    floor: int = 1,
    multiple: int = 1,
    skip: tuple[str, ...] = (),
    seed: int = 0,
    task: Task | None = None,
) -> ChannelPlan:
    """What `prune_channels` would do, as data: cuts by name, what is frozen and why, the proof."""
    limits = Limits(floor, multiple)
    select = selector(Scorer(model, score, seed, task), amount, scope, of, limits)
    return plan(model, example_inputs, select, skip, seed)


def selector(
    scorer: Scorer, amount: float, scope: ChannelScope, of: str, limits: Limits, before: float | None = None
) -> Callable[[Tied], Removed]:
    """How `plan` is told what goes. before: what the amount is a share of, where earlier cuts took some of it already;
    None: what there is now. Raises SettingError."""
    if not 0 <= amount < 1:
        raise SettingError(f"channels: amount is {amount}, must lie in [0, 1); to keep all, pass 0.")
    if of not in SIZES:
        raise SettingError(f"channels: amount is a share of {of!r}, must be one of {', '.join(SIZES)}.")
    size = SIZES[of]

    def select(tied: Tied) -> Removed:
        scores = scorer(tied)
        if of == "channels" and before is None:
            return scope(tied, scores, amount, limits)
        whole = size(tied, np.zeros(len(scores), dtype=bool)) if before is None else before
        return reaching(tied, scores, scope, limits, 1 - amount, lambda r: size(tied, r) / whole, of)

    return select


def num_units(tied: Tied, removed: Removed) -> float:
    """Units of all sets that stay."""
    return float(sum((~removed[one.units]).sum() for one in tied.sets))


SIZES = {"channels": num_units, "macs": costs.macs, "params": costs.params}


def plan(
    model: nn.Module,
    example_inputs: Any,
    select: Callable[[Tied], Removed],
    skip: tuple[str, ...] = (),
    seed: int = 0,
) -> ChannelPlan:
    """Trace, find the sets, let `select` choose, and prove; freeze what the forward cannot follow, and again.

    select: (ties) -> (labels,) True by unit that goes; called again whenever something had to be frozen.
    """
    inputs = as_inputs(example_inputs)
    check_skip(model, skip)
    graph = trace(model, inputs)
    learnt = Known()
    dtype = torch.float64
    dense, doubles = None, as_type(inputs, dtype)
    proof = Proof(np.inf)
    tied = analyse(model, graph, learnt, skip)
    for _ in range(ATTEMPTS):
        if not tied.sets:
            raise ModelError(f"{type(model).__name__}: no channel can go ({told(tied)}); prune single weights instead.")
        removed = select(tied)
        cuts = Cuts(tensors=tensor_cuts(tied, removed), attributes=attributes(tied, removed, learnt.level))
        if not cuts.tensors:
            return ChannelPlan(tied, removed, cuts, tuple(tied.frozen))
        dense = randomised(model, seed) if dense is None else dense
        proof = prove(dense, doubles, tied, removed, cuts)
        if proof.raised and dtype == torch.float64 and not runs(dense, doubles):
            dtype = torch.float32
            dense, doubles = randomised(model, seed, dtype), as_type(inputs, dtype)
            proof = prove(dense, doubles, tied, removed, cuts)
        for other in range(1, DRAWS) if proof.holds(dtype) and proof.constant else ():
            proof = prove(randomised(model, seed + other, dtype), doubles, tied, removed, cuts)
            if not (proof.holds(dtype) and proof.constant):
                break
        if proof.holds(dtype) and proof.constant:
            raise ModelError(
                f"{type(model).__name__}: on {DRAWS} draws of random weights all its outputs are one number, which "
                "proves nothing; give example inputs that bring it to life."
            )
        if proof.holds(dtype):
            return ChannelPlan(tied, removed, cuts, tuple(tied.frozen), proof)
        fixed = learnt.num_fixed
        if not draw(tied, removed, proof, learnt):
            break
        if learnt.num_fixed > fixed:
            tied = analyse(model, graph, learnt, skip)
    raise ModelError(
        f"{type(model).__name__}: no cut of it could be proved right ({proof.why}); name the part to blame in skip."
    )


def untouched(model: nn.Module, example_inputs: Any) -> ChannelPlan:
    """The plan by which nothing goes."""
    tied = analyse(model, trace(model, example_inputs))
    return ChannelPlan(tied, np.zeros(len(tied.components.root), dtype=bool), Cuts(), tuple(tied.frozen))


def check_skip(model: nn.Module, skip: tuple[str, ...]) -> None:
    """Raises SettingError for a path that no module has."""
    paths = {path for path, _ in model.named_modules()}
    for one in skip:
        if one not in paths:
            raise SettingError(f"channels: skip names {one!r}, the model has no module of this path.")


def told(tied: Tied) -> str:
    """The first reasons why nothing can go."""
    inner = [one for one in tied.frozen if "what the model gives back" not in one.why]
    said = [f"{one.what}: {one.why.split('; ')[0]}" for one in inner]
    return "; ".join(said[:3]) or "all it has goes straight to its output"
