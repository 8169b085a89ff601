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
def member_of(model: nn.Module, head: Head, group: Sequence[int], batches: Sequence[Batch]) -> nn.Module:
    """A copy of `model` that gives a member's outputs for the classes `group`; nothing is trained.

    Its head has the rows of its own classes. Row 0, "none of mine", is fitted by least squares to the log-sum-exp of
    the other classes' outputs on `batches` (training images and targets), so that the member's answers are about the
    network's own. For a single class the one row is that of the class less that of the others; a group of all classes
    keeps the head as it is.
    """
    member = copy.deepcopy(model).eval()
    layer = head.of(member)
    if covers(group, layer.weight.shape[0]):
        return member
    rest = [number for number in range(layer.weight.shape[0]) if number not in group]
    with features_of(layer) as found:
        for images, _ in batches:
            member(images)
    features = torch.cat(found).double()
    weight = layer.weight.flatten(1).double()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    ones = features if layer.bias is None else torch.cat([features, features.new_ones(len(features), 1)], 1)
    outside = (features @ weight[rest].T + bias[rest]).logsumexp(1)
    gram = ones.T @ ones
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solved = torch.linalg.solve(gram, ones.T @ outside)
    none, shift = (solved, solved.new_zeros(())) if layer.bias is None else (solved[:-1], solved[-1])
    rows, shifts = torch.cat([none[None], weight[list(group)]]), torch.cat([shift[None], bias[list(group)]])
    if len(group) == 1:
        rows, shifts = rows[1:] - rows[:1], shifts[1:] - shifts[:1]
    put_(member, head, rows, shifts)
    return member


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
