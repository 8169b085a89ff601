"""Structured pruning: whole channels, heads and units, with everything that is tied to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.errors import ModelError, SettingError
from prunelle.graph.attributes import attributes
from prunelle.graph.cut import tensor_cuts
from prunelle.graph.cuts import Cuts, replay_
from prunelle.graph.folds import fold_
from prunelle.graph.prove import Proof, as_double, prove, randomised
from prunelle.graph.sets import Frozen, Set, Tied, analyse
from prunelle.graph.trace import Inputs, as_inputs, module_of, trace

ATTEMPTS = 24
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ChannelPlan:
    """What goes, before anything is touched. removed: (labels,) by unit of `tied`."""

    tied: Tied
    removed: np.ndarray
    cuts: Cuts
    frozen: tuple[Frozen, ...]
    proof: Proof

    def apply(self, model: nn.Module) -> nn.Module:
        """A cut copy of a model of the planned one's shapes, with its values."""
        small = copy.deepcopy(model)
        fold_(small, self.tied.components, self.removed, self.tied.scales, self.tied.shifts)
        replay_(small, self.cuts)
        return small


def prune_channels(model: nn.Module, example_inputs: Any, amount: float = 0.5, **settings: Any) -> nn.Module:
    return plan_channels(model, example_inputs, amount, **settings).apply(model)


def plan_channels(model: nn.Module, example_inputs: Any, amount: float = 0.5, seed: int = 0) -> ChannelPlan:
    inputs = as_inputs(example_inputs)
    graph = trace(model, inputs)
    dense = randomised(model, seed)
    doubles = as_double(inputs)
    stiff: dict[type, str] = {}
    level: dict[type, int] = {}
    tied = analyse(model, graph)
    for _ in range(ATTEMPTS):
        removed = choose(model, tied, amount)
        cuts = Cuts(tensors=tensor_cuts(tied, removed), attributes=attributes(tied, removed, level))
        if not cuts.tensors:
            raise ModelError("nothing can be cut: " + "; ".join(f"{f.what}: {f.why}" for f in tied.frozen[:5]))
        proof = prove(dense, doubles, tied, removed, cuts)
        if proof.error <= TOLERANCE:
            return ChannelPlan(tied, removed, cuts, tuple(tied.frozen), proof)
        if not soften(tied, proof, level, stiff):
            break
        tied = analyse(model, graph, stiff)
    raise ModelError(f"{type(model).__name__}: no cut of it could be proved right ({proof.why or proof.error}).")


def soften(tied: Tied, proof: Proof, level: dict[type, int], stiff: dict[type, str]) -> bool:
    print('   soften', proof)
    path = proof.where
    if path is None:
        return False
    owners = {module_of(node) for node, v in tied.state.sized if any(tied.components.units(a.labels).any() for a in v.axes)}
    while True:
        module = tied.state.modules[path]
        if path in owners and type(module) not in stiff:
            if level.get(type(module), 0) < 2:
                level[type(module)] = level.get(type(module), 0) + 1
            else:
                stiff[type(module)] = f"{type(module).__name__}: its forward holds sizes that no attribute reaches ({proof.why})"
            return True
        if not path:
            return False
        path = path.rpartition(".")[0]


def choose(model: nn.Module, tied: Tied, amount: float) -> np.ndarray:
    removed = np.zeros(len(tied.components.root), dtype=bool)
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    for one in tied.sets:
        total = np.zeros(len(removed))
        count = np.zeros(len(removed))
        for producer in one.producers:
            name = tied.graph.tensors.get(producer.weight.name)
            if name is None:
                continue
            w = tensors[name].detach().movedim(producer.axis, 0).flatten(1)
            s = (w.double() ** 2).sum(1).numpy()
            s = s / max(s.mean(), 1e-30)
            u = tied.components.root[producer.labels]
            np.add.at(total, u, s)
            np.add.at(count, u, 1)
        score = total / np.maximum(count, 1)
        for cell in one.cells:
            n = min(int(amount * len(cell) + 1e-9), len(cell) - 1)
            order = np.argsort(score[cell], kind="stable")
            removed[cell[order[:n]]] = True
    return removed
