"""What is read of the whole network once, before any class has its member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prunelle.classwise.activity import Similarity, candidate_overlap, class_features, cosine_similarity
from prunelle.classwise.head import Head, head_of
from prunelle.data.task import Batch, Task
from prunelle.errors import DataError, ModelError
from prunelle.graph import costs
from prunelle.graph.folds import short
from prunelle.graph.sets import Tied, analyse, place_of
from prunelle.graph.ties import FIXED
from prunelle.graph.trace import trace
from prunelle.graph.value import Value
from prunelle.prune.by_activation import Activations, Key, channel_activations
from prunelle.seeds import generator

BATCH = 64
NUM_IMAGES = 10_000
SUMS = {"add", "add_"}


@dataclass(frozen=True)
class Look:
    """features: (classes, d), see activity.class_features. activations: by class, see prune.by_activation.
    overlap: of pruning candidates, see activity.candidate_overlap. macs: of one image. carried: see
    `carried_by_sums`."""

    head: Head
    features: NDArray[np.float64] = field(repr=False)
    activations: Mapping[Key, Activations] = field(repr=False)
    overlap: Similarity = field(repr=False)
    macs: float
    carried: tuple[str, ...] = ()

    @property
    def similarity(self) -> Similarity:
        """Cosine of class features."""
        return cosine_similarity(self.features)


@torch.no_grad()
def look_at(model: nn.Module, task: Task, zero: float = 0.0, num_images: int = NUM_IMAGES, seed: int = 0) -> Look:
    """Read class features and activations on plain training images.

    model: in eval mode, on the CPU. zero: activations at or below it count as zeros. num_images: about so many are
    drawn, by `seed`. Raises ModelError for a network without a head or channels that can go, DataError where a class
    was not among the images.
    """
    batches = drawn(task, num_images, seed)
    head = head_of(model, batches[0][0][:1])
    features = class_features(model, head, batches, task.num_classes)
    tied = analyse(model, trace(model, batches[0][0]))
    if not tied.sets:
        raise ModelError(f"{type(model).__name__}: no channel of it can go, so no member can be smaller.")
    activations = channel_activations(model, tied, batches, zero)
    overlap = candidate_overlap(tied, activations, task.num_classes)
    single = analyse(model, trace(model, batches[0][0][:1]))
    macs = costs.macs(single, np.zeros(len(single.components.root), dtype=bool))
    return Look(head, features, activations, overlap, float(macs), carried_by_sums(single, model))


def carried_by_sums(tied: Tied, model: nn.Module) -> tuple[str, ...]:
    """Paths of the layers whose channels are added to others', as those of a residual stream are."""
    units: set[int] = set()
    for node in tied.graph.nodes:
        values = [tied.state.values.get(given) for given in node.all_input_nodes]
        if short(node) in SUMS and len(values) == 2 and all(computed(value) for value in values):
            for axis in tied.tensor(node).axes:
                units |= set(tied.components.units(axis.labels).tolist())
    units.discard(FIXED)
    modules = dict(model.named_modules())
    found = [
        place_of(tied, producer)
        for one in tied.sets
        for producer in one.producers
        if units & set(tied.components.units(producer.labels).tolist())
    ]
    return tuple(path for path in dict.fromkeys(found) if path in modules)


def computed(value: object) -> bool:
    """Whether a value depends on the images."""
    return isinstance(value, Value) and value.made_of is None


def drawn(task: Task, num_images: int, seed: int) -> list[Batch]:
    """Batches of one size. Raises DataError where targets are no classes."""
    size = min(BATCH, len(task.train))
    epoch = task.train.epoch(size, order=generator(seed, "classes"), drop_last=True)
    found = list(islice(epoch, max(1, -(-num_images // size))))
    if any(targets.ndim != 1 or targets.is_floating_point() for _, targets in found):
        raise DataError(f"{task.name}: its targets are no classes; class-wise networks need one class an image.")
    return found
