"""What a cut network must equal: the dense one with the removed channels at 0. Built from the cuts alone, by what each
kind of module does with its tensors, and without any rule of the pruner."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from prunelle.graph.cuts import Cut, Cuts, replay_

WITH_ROWS = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)


class NoReference(Exception):
    """A cut whose meaning is not known here."""


@torch.no_grad()
def zeroed(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy of the dense `model` whose removed channels are 0 after the last tensor that makes or scales them.

    Slices along the axes that make or scale channels become 0. Those along which a consumer reads stay, so that an
    error in which of them were kept shows. A module may name such axes of its own bare parameters: consumes = {name:
    axes}. Raises NoReference.
    """
    reference = copy.deepcopy(model)
    replay_(reference, Cuts(replaced=cuts.replaced))
    tensors: dict[str, Tensor] = dict(reference.named_parameters(remove_duplicate=False))
    tensors |= dict(reference.named_buffers(remove_duplicate=False))
    owners = owners_of(reference)
    standing: dict[int, list[Tensor]] = {}
    for cut in cuts.tensors:
        tensor = tensors[cut.tensor]
        left = standing.setdefault(id(tensor), [torch.arange(side) for side in tensor.shape])
        made = any(cut.axis in made_by(module, leaf, tensor) for module, leaf in owners[id(tensor)])
        for rows, gone in removed(cut, left, tensor):
            if made:
                tensor[rows] = tensor[rows].index_fill(cut.axis, gone, 0)
    return reference


def owners_of(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """id of a parameter or buffer -> the modules that hold it and the name it has there."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), []).append((module, leaf))
    return found


def removed(cut: Cut, left: list[Tensor], tensor: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows, indices of the axis that go there), both counted in the dense tensor; `left` is brought up to date."""
    if cut.groups == 1:
        kept = left[cut.axis][cut.kept]
        every = torch.arange(tensor.shape[0]) if tensor.ndim else torch.empty(0, dtype=torch.long)
        left[cut.axis] = kept
        yield every, without(kept, tensor.shape[cut.axis])
        return
    if len(left[cut.axis]) != tensor.shape[cut.axis]:
        raise NoReference(f"{cut.tensor}: axis {cut.axis} is cut in groups after it was cut before.")
    for rows, kept in zip(left[0].chunk(cut.groups), cut.blocks(), strict=True):
        yield rows, without(torch.tensor(kept), tensor.shape[cut.axis])


def without(kept: Tensor, side: int) -> Tensor:
    gone = torch.ones(side, dtype=torch.bool)
    gone[kept] = False
    return gone.nonzero().flatten()


def made_by(module: nn.Module, leaf: str, tensor: Tensor) -> set[int]:
    """The axes along which `module`, through its tensor `leaf`, makes or scales channels."""
    every = set(range(tensor.ndim))
    if isinstance(module, ParametrizationList):
        if type(module[0]).__name__ != "_WeightNorm":
            raise NoReference(f"{type(module[0]).__name__}: what a zeroed row does to the others is not known here.")
        return {0} if leaf == "original0" else set()  # a direction of length 0 has none: 0 / 0
    if isinstance(module, nn.modules.conv._ConvNd) and leaf == "weight":
        return {1} if module.transposed else {0}
    if isinstance(module, nn.Embedding):
        return {1}
    if isinstance(module, WITH_ROWS) or (isinstance(module, nn.MultiheadAttention) and leaf.endswith("weight")):
        return {0}
    if leaf == "running_var" or not tensor.is_floating_point():
        return set()
    if leaf == "running_mean":
        return every if getattr(module, "weight", None) is None else set()
    return every - set(getattr(module, "consumes", {}).get(leaf, ()))


@torch.no_grad()
def relative_error(model: nn.Module, reference: nn.Module, inputs: tuple) -> float:
    """The largest difference of the outputs in units of the reference's largest; infinite for other shapes or NaN."""
    found, expected = outputs(model, inputs), outputs(reference, inputs)
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max())
        error = float((one - other).abs().max()) / (scale or 1.0)
        worst = max(worst, error) if error < float("inf") else float("inf")
    return worst


@torch.no_grad()
def outputs(model: nn.Module, inputs: tuple) -> list[Tensor]:
    """Every floating tensor that the model gives."""
    return [leaf for leaf in tree_leaves(model(*inputs)) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
