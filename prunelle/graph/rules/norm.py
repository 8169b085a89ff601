"""Normalisations: which axes they average over, and what they give for a channel that is masked."""

from __future__ import annotations

from typing import Any

import numpy as np

from prunelle.graph.value import Axis, Value, value_of
from prunelle.graph.walk import Result, Walk


def affine(state: Walk, axis: Axis, *tensors: Value | None) -> Axis:
    """The axis after a scale and shift per channel. Masking sets both to 0, so what is removed comes out as 0."""
    for tensor in tensors:
        if tensor is not None:
            state.join(axis, tensor.axes[0], "has a value for each channel that cannot shrink")
            state.zero(tensor, 0)
    if tensors and tensors[0] is not None and tensors[0].tensor:
        state.norms.append((tensors[0].tensor, axis.labels))
    scaled = bool(tensors) and tensors[0] is not None and tensors[0].made_of is not None
    return axis.holds(np.where((axis.at == 0) | scaled, 0.0, np.nan))


def over_others(state: Walk, x: Value, channel: int) -> list[Axis]:
    """Axes that statistics are taken over must stay; the first one, the batch, is told apart by nobody."""
    axes = list(x.axes)
    for position, axis in enumerate(axes):
        if position > channel:
            state.pin(axis, "averages over this axis")
        if position != channel:
            axes[position] = axis.holds(np.nan)
    return axes


def batch_norm(
    state: Walk,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    var: Value | None,
    training: bool = False,
    *args: Any,
) -> Result:
    """Per channel, axis 1. Without a weight of its own, masking sets the running mean to 0."""
    axes = over_others(state, x, 1)
    channel = axes[1]
    for statistic in (mean, var):
        if statistic is not None:
            state.join(channel, statistic.axes[0], "has statistics that cannot shrink")
    if weight is None and mean is not None:
        state.zero(mean, 0)
    axes[1] = affine(state, channel, weight, bias)
    if training:
        state.pin(axes[0], "averages over this axis")
    return value_of(axes, [value for value in (x, weight, bias) if value is not None])


def instance_norm(
    state: Walk,
    x: Value,
    weight: Value | None = None,
    bias: Value | None = None,
    mean: Value | None = None,
    var: Value | None = None,
    *args: Any,
) -> Result:
    return batch_norm(state, x, weight, bias, mean, var)


def layer_norm(
    state: Walk, x: Value, shape: list[int], weight: Value | None = None, bias: Value | None = None, *args: Any
) -> Result:
    """Over the last axes together: none of them may shrink, or the average would be another one."""
    first = x.ndim - len(shape)
    for tensor in (weight, bias):
        for axis in () if tensor is None else tensor.axes:
            state.pin(axis, "belongs to an axis that is averaged over")
    for axis in x.axes[first:]:
        state.pin(axis, "averages over this axis")
    kept = bias is None
    axes = [axis.holds(np.where((axis.at == 0) & kept, 0.0, np.nan)) for axis in x.axes[:first]]
    return value_of([*axes, *x.axes[first:]], [value for value in (x, weight, bias) if value is not None])


def rms_norm(state: Walk, x: Value, shape: list[int], weight: Value | None = None, eps: float | None = None) -> Result:
    """As `layer_norm`, without a shift."""
    return layer_norm(state, x, shape, weight)


def group_norm(
    state: Walk, x: Value, groups: int, weight: Value | None = None, bias: Value | None = None, *args: Any
) -> Result:
    """Over each group's channels together: a group goes whole."""
    axes = over_others(state, x, 1)
    labels = axes[1].labels.reshape(groups, -1)
    for column in range(1, labels.shape[1]):
        state.join(labels[:, 0], labels[:, column], "averages over a group, which goes whole")
    if groups == 1:
        state.pin(axes[1], "averages over all channels")
    axes[1] = affine(state, axes[1], weight, bias)
    return value_of(axes, [value for value in (x, weight, bias) if value is not None])


def weight_norm(state: Walk, v: Value, g: Value, dim: int = 0) -> Result:
    """g v / |v|, the norm over all axes but `dim`. Masking sets g to 0."""
    axes = []
    for position, axis in enumerate(v.axes):
        if position == dim % v.ndim:
            other = g.axes[position]
            state.join(axis, other, "has a length for each row")
            axes.append(axis.holds(0.0))
        else:
            state.pin(axis, "the length of a row is over this axis")
            axes.append(axis)
    return Value(tuple(axes), "", g.made_of)
