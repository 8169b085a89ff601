"""What channels do on data: how often they are not above 0, and their mean, over all images and by class.

Layers are found in the traced graph, never by counting modules; where each one's channels are read, see
`reading_places`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunelle.data.task import Batch
from prunelle.errors import ModelError
from prunelle.graph.sets import Tied, place_of
from prunelle.graph.trace import shape_of
from prunelle.graph.walk import Producer
from prunelle.prune.reading_places import Place, reading_place

Key = tuple[str, str, int]
"""A layer in any trace of one model: the node that runs it, the node of its weight, which axis makes channels."""


@dataclass(frozen=True)
class Summary:
    """Over num images: zeros, mean (n,) the share of each channel's values that are not above the threshold, and their
    mean; NaN for a channel that was nowhere found."""

    num: int
    zeros: Tensor
    mean: Tensor

    def plus(self, other: Summary) -> Summary:
        """Over the images of both."""
        share = other.num / (self.num + other.num)
        zeros, mean = self.zeros.lerp(other.zeros, share), self.mean.lerp(other.mean, share)
        return Summary(self.num + other.num, zeros, mean)


@dataclass
class Activations:
    """One layer's n channels. layer: the module that makes them. after: the operator behind which they are read.

    by_class: target -> summary over its images; empty where targets are no classes or the layer does not work image by
    image.
    """

    layer: str
    after: str
    all: Summary | None = None
    by_class: dict[int, Summary] = field(default_factory=dict)

    def of(self, classes: Sequence[int]) -> Summary:
        """Over the images of these classes together. Raises ModelError where one of them is not known."""
        found = [self.by_class.get(each) for each in classes]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            raise ModelError(
                f"{self.layer}: what it gives class {classes[found.index(None)] if None in found else '(none)'} is not "
                f"known, only {sorted(self.by_class)}; give batches that hold it."
            )
        total = known[0]
        for one in known[1:]:
            total = total.plus(one)
        return total


@torch.no_grad()
def channel_activations(
    model: nn.Module, tied: Tied, batches: Iterable[Batch], threshold: float = 0.0
) -> dict[Key, Activations]:
    """What every layer of `tied` that makes channels gives, in eval mode.

    batches: (inputs, targets) on the model's device, of the size that `tied` was traced with; others are left out.
    targets: (N,) of integers for the summaries by class. threshold: what counts as zero is this or below.
    Memory: the activations of one batch that are in use at a time. Raises ModelError when the model takes several
    inputs, or no batch was of the right size.
    Source: average percentage of zeros, Hu 2016, arXiv:1607.03250, equation 1.
    """
    name = type(model).__name__
    if len(tied.graph.inputs) != 1:
        raise ModelError(f"{name}: takes {len(tied.graph.inputs)} inputs; activations are read of models with one.")
    size = batch_size(tied)
    held = held_tensors(model, tied)
    reader = Reader(tied, size, threshold)
    for inputs, targets in batches:
        if len(inputs) == size:
            reader.targets = targets if targets.ndim == 1 and not targets.is_floating_point() else None
            reader.run(*[inputs if each is None else each for each in held], enable_io_processing=False)
            reader.num_batches += 1
    if not reader.num_batches:
        raise ModelError(f"{name}: no batch had the {size} examples that it was traced with; give larger batches.")
    return reader.found


def key_of(producer: Producer) -> Key:
    return producer.node.name, producer.weight.name, producer.axis


def batch_size(tied: Tied) -> int:
    """How many examples the model was traced with."""
    node = next(node for node in tied.graph.nodes if node.name == tied.graph.inputs[0])
    return shape_of(node.meta["val"])[0]


def held_tensors(model: nn.Module, tied: Tied) -> list[Tensor | None]:
    """What the graph's placeholders take, in their order; None for the input."""
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    names = [node.name for node in tied.graph.nodes if node.op == "placeholder"]
    graph = tied.graph
    return [tensors[graph.tensors[each]] if each in graph.tensors else graph.constants.get(each) for each in names]


class Reader(fx.Interpreter):
    """Runs a traced graph and sums up what is read on the way. Final."""

    def __init__(self, tied: Tied, size: int, threshold: float) -> None:
        super().__init__(tied.graph.module)
        self.size, self.threshold = size, threshold
        self.targets: Tensor | None = None
        self.num_batches = 0
        self.places: dict[fx.Node, list[Place]] = {}
        self.found: dict[Key, Activations] = {}
        for producer in tied.state.producers:
            where = reading_place(tied, producer)
            self.places.setdefault(where.node, []).append(where)
            self.found[key_of(producer)] = Activations(place_of(tied, producer), where.node.name)

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        for where in self.places.get(node, ()):
            if len(where.rows):
                self.add_(self.found[key_of(where.producer)], where, result)
        return result

    def add_(self, found: Activations, where: Place, result: Tensor) -> None:
        """Sum up one batch."""
        values = result.detach().movedim(where.axis, -1)
        by_image = where.axis != 0 and values.shape[0] == self.size
        values = values.reshape(self.size if by_image else 1, -1, values.shape[-1])
        not_above = (values <= self.threshold).double().mean(1)
        zeros, means = (spread(each, where) for each in (not_above, values.double().mean(1)))
        found.all = plus(found.all, Summary(self.size, zeros.mean(0), means.mean(0)))
        if by_image and self.targets is not None:
            for target in self.targets.unique().tolist():
                own = self.targets == target
                new = Summary(int(own.sum()), zeros[own].mean(0), means[own].mean(0))
                found.by_class[target] = plus(found.by_class.get(target), new)


def plus(before: Summary | None, new: Summary) -> Summary:
    return new if before is None else before.plus(new)


def spread(values: Tensor, where: Place) -> Tensor:
    """(images, indices) -> (images, n) the mean over each channel's indices, NaN where it has none."""
    rows, columns = where.rows.to(values.device), where.columns.to(values.device)
    num = len(where.producer.labels)
    total = values.new_zeros(len(values), num).index_add_(1, rows, values[:, columns])
    return total / values.new_zeros(num).index_add_(0, rows, values.new_ones(len(rows)))
