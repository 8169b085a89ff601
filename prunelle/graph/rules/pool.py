"""Operators that move or mix pixels and leave channels alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from prunelle.graph.value import Axis, Value, fixed, value_of
from prunelle.graph.walk import Result, Walk, flat, shape_of


def spatial(state: Walk, x: Value, keeps: bool, num_spatial: int) -> Value:
    """The last `num_spatial` axes are mixed; a number that stands everywhere in a channel stays when `keeps`."""
    meta = state.node.meta["val"]
    shape = shape_of(meta[0] if isinstance(meta, (list, tuple)) else meta)
    first = x.ndim - num_spatial
    for axis in x.axes[first:]:
        state.pin(axis, "mixes this axis")
    front = [axis if keeps else axis.holds(np.where(axis.at == 0, 0.0, np.nan)) for axis in x.axes[:first]]
    return value_of([*front, *map(fixed, shape[first:])], [x])


def planes(state: Walk, given: Value) -> Result:
    """The value, or as many of it as the operator gives: pooling may give indices too."""
    meta = state.node.meta["val"]
    return [given, given] if isinstance(meta, (list, tuple)) else given


def pool1d(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """Largest numbers, or averages of so many that no border counts: a constant stays one."""
    return planes(state, spatial(state, x, True, 1))


def pool2d(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    return planes(state, spatial(state, x, True, 2))


def pool3d(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    return planes(state, spatial(state, x, True, 3))


def avg_pool(state: Walk, x: Value, kernel: list[int], stride: Any = (), padding: Any = 0, *args: Any) -> Result:
    """With padding an average at the border counts zeros in; a divisor of one's own makes it no average."""
    divided = len(args) > 2 and args[2] is not None
    return spatial(state, x, not divided and not np.any(np.atleast_1d(padding)), len(kernel))


def upsample(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    name = str(state.node.target)
    return spatial(state, x, "nearest" in name or "linear" in name, x.ndim - 2)


def im2col(state: Walk, x: Value, kernel: list[int], *args: Any) -> Result:
    """(N, C, H, W) -> (N, C * kernel, places): each channel becomes so many rows."""
    shape = shape_of(state.node.meta["val"])
    for axis in x.axes[-2:]:
        state.pin(axis, "slides over this axis")
    rows = np.repeat(np.arange(len(x.axes[-3])), kernel[0] * kernel[1])
    channel = x.axes[-3].take(rows)
    return value_of([*x.axes[:-3], channel.holds(np.where(channel.at == 0, 0.0, np.nan)), fixed(shape[-1])], [x])


def col2im(state: Walk, x: Value, size: list[int], kernel: list[int], *args: Any) -> Result:
    """(N, C * kernel, places) -> (N, C, H, W)."""
    shape = shape_of(state.node.meta["val"])
    state.pin(x.axes[-1], "slides over this axis")
    return value_of([*x.axes[:-2], blocks(state, x.axes[-2], kernel[0] * kernel[1]), *map(fixed, shape[-2:])], [x])


def blocks(state: Walk, axis: Axis, size: int) -> Axis:
    """An axis of blocks of `size` neighbours becomes one index a block: a block goes whole."""
    labels, at = axis.labels.reshape(-1, size), axis.at.reshape(-1, size)
    for column in range(1, size):
        state.join(labels[:, 0], labels[:, column], "makes one channel of several")
    return Axis(labels[:, 0], np.where((at == 0).all(1), 0.0, np.nan))


def pixel_shuffle(state: Walk, x: Value, factor: int) -> Result:
    shape = shape_of(state.node.meta["val"])
    for axis in x.axes[-2:]:
        state.pin(axis, "mixes this axis")
    return value_of([*x.axes[:-3], blocks(state, x.axes[-3], factor**2), *map(fixed, shape[-2:])], [x])


def pixel_unshuffle(state: Walk, x: Value, factor: int) -> Result:
    shape = shape_of(state.node.meta["val"])
    for axis in x.axes[-2:]:
        state.pin(axis, "mixes this axis")
    rows = np.repeat(np.arange(len(x.axes[-3])), factor**2)
    return value_of([*x.axes[:-3], x.axes[-3].take(rows), *map(fixed, shape[-2:])], [x])


def channel_shuffle(state: Walk, x: Value, groups: int) -> Result:
    """(groups, n) channels read as (n, groups): the same place in every group goes at once."""
    labels, at = x.axes[1].labels.reshape(groups, -1), x.axes[1].at.reshape(groups, -1)
    for row in range(1, groups):
        state.join(labels[0], labels[row], "shuffles groups")
    return value_of(x.with_axis(1, Axis(labels.T.ravel(), at.T.ravel())).axes, [x])


def sampled(state: Walk, x: Value, grid: Value, *args: Any) -> Result:
    """grid_sample: pixels from anywhere, zeros from outside."""
    for value in flat([grid]):
        state.pin_all(value, "says where to look")
    return spatial(state, x, False, x.ndim - 2)
