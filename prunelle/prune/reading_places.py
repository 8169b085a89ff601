"""Where in a traced graph a layer's channels are read: behind their rectifier, else their norm, else as made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from prunelle.graph.folds import short
from prunelle.graph.sets import Tied
from prunelle.graph.ties import FIXED, Labels
from prunelle.graph.value import Value
from prunelle.graph.walk import Producer, Result

RECTIFIERS = {
    *("relu", "relu_", "hardtanh", "hardtanh_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "clamp", "clamp_min"),
    *("gelu", "gelu_", "silu", "silu_", "hardswish", "hardswish_", "elu", "elu_", "mish", "mish_", "softplus"),
}
NORMS = {"batch_norm", "instance_norm", "group_norm"}
PASSED = {
    *("add", "add_", "cat", "dropout", "dropout_", "feature_dropout", "clone", "contiguous", "detach", "alias", "to"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "getitem"),
}


@dataclass(frozen=True)
class Place:
    """One layer's n channels. node: what is read, axis: along which of its axes. rows, columns: channel rows[i] stands
    at index columns[i]; a channel may stand at several indices, or at none."""

    producer: Producer
    node: fx.Node
    axis: int
    rows: Tensor
    columns: Tensor


def reading_place(tied: Tied, producer: Producer) -> Place:
    """The first rectifier that the channels reach through norms, sums, pooling and concatenation; where there is none
    the first norm, else the layer's own output."""
    root = tied.components.root
    wanted = root[producer.labels]
    reached, node = {producer.node}, producer.node
    for each in tied.graph.nodes:
        kind = short(each)
        if each in reached or not reached & set(each.all_input_nodes) or kind not in RECTIFIERS | NORMS | PASSED:
            continue
        if channel_axis(tied.state.values.get(each), root, wanted) is None:
            continue
        reached.add(each)
        own = node is producer.node
        if kind in RECTIFIERS or (own and kind in NORMS) or (own and channel_axis_of(tied, node, wanted) is None):
            node = each
        if kind in RECTIFIERS:
            break
    axis = channel_axis_of(tied, node, wanted)
    value = tied.state.values.get(node)
    if axis is None or not isinstance(value, Value):
        nowhere = torch.empty(0, dtype=torch.long)
        return Place(producer, node, 0, nowhere, nowhere)
    rows, columns = np.nonzero(wanted[:, None] == root[value.axes[axis].labels][None, :])
    free = wanted[rows] != FIXED
    return Place(producer, node, axis, torch.from_numpy(rows[free]), torch.from_numpy(columns[free]))


def channel_axis_of(tied: Tied, node: fx.Node, wanted: Labels) -> int | None:
    return channel_axis(tied.state.values.get(node), tied.components.root, wanted)


def channel_axis(value: Result, root: Labels, wanted: Labels) -> int | None:
    """Which axis of a value holds all these units; None when none does."""
    units = np.unique(wanted[wanted != FIXED])
    if not isinstance(value, Value) or not len(units):
        return None
    return next((i for i, axis in enumerate(value.axes) if np.isin(units, root[axis.labels]).all()), None)
