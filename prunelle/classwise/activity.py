"""How much a class makes each channel work: from the images of one pass to units, similarities and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prunelle.classwise.head import Head, features_of
from prunelle.data.task import Batch
from prunelle.errors import DataError
from prunelle.graph.sets import Tied
from prunelle.prune.by_activation import Activations, Key, key_of
from prunelle.prune.channel_select import UnitScores

Similarity = NDArray[np.float64]
"""(classes, classes), symmetric, 1 on the diagonal."""


@dataclass(frozen=True)
class Activity:
    """Of every unit of a traced network, over the images of some classes. apoz: (labels,) average percentage of zeros,
    as a fraction; mean: (labels,) mean activation over that of its layer. Both are means over the layers that make the
    unit; NaN where nothing could be read, or the label is no unit."""

    apoz: UnitScores
    mean: UnitScores


def activity(tied: Tied, activations: Mapping[Key, Activations], classes: Sequence[int]) -> Activity:
    """Source of the average percentage of zeros: Hu 2016, arXiv:1607.03250, equation 1.

    Raises ModelError for a class of which no image was seen.
    """
    totals = np.zeros((3, len(tied.components.root)))
    for one in tied.sets:
        for producer in one.producers:
            summary = activations[key_of(producer)].of(classes)
            zeros, mean = summary.zeros.numpy(), summary.mean.numpy()
            known = ~np.isnan(mean)
            scale = np.abs(mean[known]).mean() if known.any() else 0.0
            units = tied.components.root[producer.labels][known]
            np.add.at(totals[0], units, zeros[known])
            np.add.at(totals[1], units, mean[known] / scale if scale > 0 else mean[known])
            np.add.at(totals[2], units, 1)
    with np.errstate(invalid="ignore"):
        return Activity(totals[0] / totals[2], totals[1] / totals[2])


def ranks(tied: Tied, found: Activity) -> UnitScores:
    """(labels,) in (0, 1]: how far up among all units one stands, by the higher of its places in activity (1 - APoZ)
    and in mean. So the units up to some rank are those that are under two thresholds at once. NaN counts as most
    active; labels that are no unit have 1."""
    units = np.concatenate([one.units for one in tied.sets])
    places = [
        np.argsort(np.argsort(np.nan_to_num(values[units], nan=np.inf), kind="stable"), kind="stable")
        for values in (1 - found.apoz, found.mean)
    ]
    worst = np.ones_like(found.apoz)
    worst[units] = (np.maximum(*places) + 1) / len(units)
    return worst


@torch.no_grad()
def class_features(model: nn.Module, head: Head, batches: Iterable[Batch], num_classes: int) -> NDArray[np.float64]:
    """(classes, d) the mean of what the head is given, over each class's images.

    batches: plain images and targets (N,) on the model's device. Raises DataError for a class without any image.
    """
    targets = []
    with features_of(head.of(model)) as found:
        for images, wanted in batches:
            model(images)
            targets.append(wanted.cpu())
    features, labels = torch.cat(found).double().cpu(), torch.cat(targets)
    counts = torch.bincount(labels, minlength=num_classes)
    if not bool((counts[:num_classes] > 0).all()):
        absent = (counts[:num_classes] == 0).nonzero()[:, 0].tolist()
        raise DataError(f"class features: no image of classes {absent} was seen; give more images.")
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.double).index_add_(0, labels, features)
    return (sums / counts[:num_classes, None]).numpy()


def cosine_similarity(features: NDArray[np.float64]) -> Similarity:
    """Cosine of class features after the mean over classes was taken off; features: (classes, d).

    Without that all are alike, for features behind a rectifier are positive.
    """
    centred = features - features.mean(0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    rows = centred / np.where(length > 0, length, 1.0)
    return np.clip(rows @ rows.T, -1, 1)


def candidate_overlap(
    tied: Tied, activations: Mapping[Key, Activations], num_classes: int, share: float = 0.5
) -> Similarity:
    """Of the units that each of two classes would give up, the part that both would: intersection over union.

    share: units up to this rank are given up, see `ranks`.
    """
    units = np.concatenate([one.units for one in tied.sets])
    idle = np.stack([ranks(tied, activity(tied, activations, [c]))[units] <= share for c in range(num_classes)])
    both = idle.astype(np.float64) @ idle.T
    each = idle.sum(1)
    either = each[:, None] + each[None, :] - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), 1.0)
