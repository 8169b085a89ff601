"""Operators that put tensors beside each other or take parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from prunelle.graph.value import Axis, Value, agree, fixed, value_of
from prunelle.graph.walk import Result, Walk, shape_of


def cat(state: Walk, parts: Sequence[Value], dim: int = 0) -> Result:
    """One after another along an axis; elsewhere side by side."""
    parts = [part for part in parts if part.shape != (0,)]
    dim %= parts[0].ndim
    axes = []
    for position in range(parts[0].ndim):
        each = [part.axes[position] for part in parts]
        if position == dim:
            axes.append(Axis(np.concatenate([a.labels for a in each]), np.concatenate([a.at for a in each])))
        else:
            axes.append(beside(state, each))
    if any(part.made_of is None for part in parts):
        for part in parts:
            for position in range(part.ndim):
                state.zero(part, position)
    return value_of(axes, parts)


def beside(state: Walk, each: Sequence[Axis]) -> Axis:
    """One axis that several tensors share."""
    for other in each[1:]:
        state.join(each[0], other, "stands beside something that cannot shrink")
    labels = np.where(each[0].labels == 0, 0, np.maximum.reduce([axis.labels for axis in each]))
    return Axis(labels, agree([axis.at for axis in each]))


def stack(state: Walk, parts: Sequence[Value], dim: int = 0) -> Result:
    axes = [beside(state, [part.axes[i] for part in parts]) for i in range(parts[0].ndim)]
    axes.insert(dim % (parts[0].ndim + 1), fixed(len(parts)))
    if any(part.made_of is None for part in parts):
        for part in parts:
            for position in range(part.ndim):
                state.zero(part, position)
    return value_of(axes, parts)


def pieces(state: Walk, x: Value, size: Any, dim: int = 0) -> Result:
    """split, split_with_sizes, chunk, tensor_split, unsafe_*: consecutive parts of an axis."""
    lengths = [shape_of(meta)[dim] for meta in state.node.meta["val"]]
    axis = x.axes[dim]
    bounds = np.cumsum([0, *lengths])
    parts = [axis.take(slice(start, stop)) for start, stop in pairwise(bounds)]
    if axis.free:
        state.sized.append((state.node, x))
        state.balance([part.labels for part in parts if len(part) == lengths[0]], "cuts an axis into equal parts")
        by_number = any(word in str(state.node.target) for word in ("chunk", "tensor_split"))
        if by_number and len(set(lengths)) > 1:
            state.pin(axis, "cuts an axis into unequal parts by their number")
    return [value_of(x.with_axis(dim % x.ndim, part).axes, [x]) for part in parts]


def unbind(state: Walk, x: Value, dim: int = 0) -> Result:
    dim %= x.ndim
    state.pin(x.axes[dim], "takes an axis apart")
    rest = [axis for i, axis in enumerate(x.axes) if i != dim]
    return [value_of(rest, [x]) for _ in range(len(x.axes[dim]))]


def select(state: Walk, x: Value, dim: int, index: int) -> Result:
    dim %= x.ndim
    state.pin(x.axes[dim], "picks one by its number")
    return value_of([axis for i, axis in enumerate(x.axes) if i != dim], [x])


def sliced(state: Walk, x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Result:
    """x[start:end:step] along an axis."""
    axis = x.axes[dim]
    first, last, _ = slice(start, end, step).indices(len(axis))
    part = axis.take(slice(first, last, step))
    if axis.free and len(part) < len(axis):
        if step != 1:
            state.pin(axis, "takes every so many")
        else:
            state.sized.append((state.node, x))
            cuts = [axis.labels[:first], axis.labels[first:last], axis.labels[last:]]
            equal = [each for each in cuts if len(each) == last - first]
            state.balance(equal, "takes one of several equal parts")
    return value_of(x.with_axis(dim % x.ndim, part).axes, [x])


def narrow(state: Walk, x: Value, dim: int, start: int, length: int) -> Result:
    start %= len(x.axes[dim]) if start < 0 else len(x.axes[dim]) + 1
    return sliced(state, x, dim, start, start + length)


def pad(state: Walk, x: Value, widths: Sequence[int], mode: Any = "constant", value: Any = None) -> Result:
    """Numbers from the last axis backwards. New channels are fixed, unless an attribute says how many they are."""
    constant = mode == "constant" or not isinstance(mode, str)
    filler = float((value if isinstance(mode, str) else mode) or 0.0)
    axes = list(x.axes)
    spatial = False
    for i in range(len(widths) // 2):
        before, after = widths[2 * i], widths[2 * i + 1]
        axis = axes[-1 - i]
        if before == after == 0:
            continue
        if not constant or before < 0 or after < 0:
            state.pin(axis, "mirrors or crops this axis")
            axes[-1 - i] = fixed(len(axis) + before + after)
        elif not axis.free:
            spatial = True
            axes[-1 - i] = fixed(len(axis) + before + after)
        else:
            axes[-1 - i] = padded(state, axis, before, after, filler)
    if spatial:
        same = [np.where(axis.at == filler, axis.at, np.nan) if constant else axis.at for axis in axes]
        axes = [axis.holds(at) for axis, at in zip(axes, same, strict=True)]
    return value_of(axes, [x])


def padded(state: Walk, axis: Axis, before: int, after: int, filler: float) -> Axis:
    """Zeros at either end of an axis: as free as whatever they are added to if the forward can be told their number."""
    tellable = filler == 0.0 and holds_pair(state.owner(), before, after)
    made = [state.ties.fresh(n) if tellable else np.zeros(n, dtype=np.int64) for n in (before, after)]
    state.sized.append((state.node, Value((axis,))))
    labels = np.concatenate([made[0], axis.labels, made[1]])
    return Axis(labels, np.concatenate([np.full(before, filler), axis.at, np.full(after, filler)]))


def holds_pair(module: nn.Module | None, before: int, after: int) -> bool:
    """Whether a module has an attribute that is these two numbers."""
    own = {} if module is None else vars(module)
    return any(
        isinstance(value, (tuple, list)) and list(value) == [before, after]
        for name, value in own.items()
        if not name.startswith("_")
    )
