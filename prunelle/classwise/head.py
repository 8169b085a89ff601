"""The layer that gives a network's outputs, found in its graph, and the one that a member has in its place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.errors import ModelError
from prunelle.graph.sets import Tied, analyse, owner_of
from prunelle.graph.trace import trace
from prunelle.graph.walk import flat
from prunelle.models.members import covers

RIDGE = 1e-4
"""Of the mean square of the features, added on the diagonal."""
KINDS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Head:
    """path: of the module whose outputs are the network's; a linear layer, or a convolution of 1x1."""

    path: str

    def of(self, model: nn.Module) -> nn.Linear | nn.Conv2d:
        module = model.get_submodule(self.path)
        assert isinstance(module, KINDS)
        return module


def head_of(model: nn.Module, example: Tensor) -> Head:
    """The last layer of `model` whose channels are its outputs. example: (1, C, H, W).

    Raises ModelError where there is no such linear layer or 1x1 convolution, or where it has other outputs than a row
    of weights each.
    """
    tied = analyse(model, trace(model, example))
    modules = dict(model.named_modules())
    for path in producers_of_output(tied):
        module = modules.get(path)
        if type(module) in KINDS and (isinstance(module, nn.Linear) or single(module)):
            return Head(path)
    raise ModelError(
        f"{type(model).__name__}: its outputs do not come from a linear layer or 1x1 convolution of its own, which a "
        "member would need anew; give a network that ends in one."
    )


def single(module: nn.Module | None) -> bool:
    """Whether a convolution looks at one pixel."""
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1


def producers_of_output(tied: Tied) -> Iterator[str]:
    """Paths of the modules that make the output's channels, the last first."""
    root = tied.components.root
    output = next(node for node in tied.graph.nodes if node.op == "output")
    values = flat([tied.state.values.get(node) for node in output.all_input_nodes])
    if len(values) != 1 or values[0].ndim != 2:
        return
    wanted = values[0].axes[1].labels
    for producer in reversed(tied.state.producers):
        if producer.axis == 0 and np.array_equal(root[producer.labels], root[wanted]):
            yield owner_of(tied.graph, producer)


@contextmanager
def features_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the head is given while the block lasts, one (N, d) a call; pixels of a convolution's input are averaged."""
    found: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        features = given[0].detach()
        found.append(features.flatten(2).mean(2) if features.ndim == 4 else features)

    handle = module.register_forward_pre_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


@torch.no_grad()
def wide_member_of(model: nn.Module, head: Head, group: Sequence[int], batches: Sequence[Batch]) -> nn.Module:
    """A copy of `model` with outputs (N, 1 + classes): "none of mine", the classes `group`, then all others, which only
    its training looks at; nothing is trained. Of a group of all classes an equal copy.

    The rows of classes are the head's own. "None of mine" is fitted by least squares to the log-sum-exp of the other
    classes' outputs on `batches` (training images and targets), so that a member's answers are about the network's.
    """
    member = copy.deepcopy(model).eval()
    layer = head.of(member)
    if covers(group, layer.weight.shape[0]):
        return member
    rest = others(group, layer.weight.shape[0])
    with features_of(layer) as found:
        for images, _ in batches:
            member(images)
    weight, bias = rows_of(layer)
    none, shift = fitted(torch.cat(found).double(), weight[rest], bias[rest], layer.bias is not None)
    order = [*group, *rest]
    put_(member, head, torch.cat([none[None], weight[order]]), torch.cat([shift[None], bias[order]]))
    return member


@torch.no_grad()
def narrowed(member: nn.Module, head: Head, group: Sequence[int], num_classes: int) -> nn.Module:
    """A copy of a wide member that gives what a member gives: (N, k + 1), or (N, 1) log-odds of a single class: its
    output less that of "none of mine"."""
    member = copy.deepcopy(member)
    if covers(group, num_classes):
        return member
    weight, bias = rows_of(head.of(member))
    rows, shifts = weight[: 1 + len(group)], bias[: 1 + len(group)]
    if len(group) == 1:
        rows, shifts = rows[1:] - rows[:1], shifts[1:] - shifts[:1]
    put_(member, head, rows, shifts)
    return member


def member_of(model: nn.Module, head: Head, group: Sequence[int], batches: Sequence[Batch]) -> nn.Module:
    """A copy of `model` that gives a member's outputs for the classes `group`; nothing is trained. See
    `wide_member_of`."""
    return narrowed(wide_member_of(model, head, group, batches), head, group, head.of(model).weight.shape[0])


def others(group: Sequence[int], num_classes: int) -> list[int]:
    """The classes that are not in a group, ascending."""
    return [number for number in range(num_classes) if number not in group]


def rows_of(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """(outputs, d) and (outputs,) float64: weights and biases, which are 0 where there are none."""
    weight = layer.weight.detach().flatten(1).double()
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()


def fitted(features: Tensor, weight: Tensor, bias: Tensor, shifts: bool) -> tuple[Tensor, Tensor]:
    """((d,), ()) the row that comes nearest to the log-sum-exp of these rows' outputs. features: (N, d) float64.
    shifts: whether there is a bias."""
    outside = (features @ weight.T + bias).logsumexp(1)
    known = torch.cat([features, features.new_ones(len(features), 1)], 1) if shifts else features
    gram = known.T @ known
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solved = torch.linalg.solve(gram, known.T @ outside)
    return (solved[:-1], solved[-1]) if shifts else (solved, solved.new_zeros(()))


def put_(member: nn.Module, head: Head, rows: Tensor, shifts: Tensor) -> None:
    """Give the head these rows (outputs, d) and biases (outputs,) in place."""
    layer = head.of(member)
    shape = (len(rows), *layer.weight.shape[1:])
    layer.weight = nn.Parameter(rows.view(shape).to(layer.weight), layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(shifts.to(layer.bias), layer.bias.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.out_features = len(rows)
    else:
        layer.out_channels = len(rows)
