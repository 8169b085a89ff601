"""Operators that pick by number, or move along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prunelle.graph.rules.pointwise import unknown
from prunelle.graph.value import Value, fixed, value_of
from prunelle.graph.walk import Result, Walk, shape_of


def index(state: Walk, x: Value, indices: Sequence[Value | None]) -> Result:
    """x[:, i] with one tensor of numbers: the axis that it looks into stays whole."""
    used = [i for i, each in enumerate(indices) if each is not None]
    for each in indices:
        if each is not None:
            state.pin_all(each, "says what to pick")
    if len(used) != 1:
        for position in used:
            state.pin(x.axes[position], "picks by number")
        adjacent = used == list(range(used[0], used[-1] + 1)) if used else False
        if not adjacent:
            return unknown(state, x)
        shape = shape_of(state.node.meta["val"])
        width = len(shape) - (x.ndim - len(used))
        made = [fixed(n) for n in shape[used[0] : used[0] + width]]
        return value_of([*x.axes[: used[0]], *made, *x.axes[used[-1] + 1 :]], [x])
    position = used[0]
    picked = indices[position]
    assert picked is not None
    state.pin(x.axes[position], "picks by number")
    return value_of([*x.axes[:position], *map(fixed, picked.shape), *x.axes[position + 1 :]], [x])


def index_select(state: Walk, x: Value, dim: int, picked: Value) -> Result:
    state.pin(x.axes[dim], "picks by number")
    state.pin_all(picked, "says what to pick")
    return value_of(x.with_axis(dim % x.ndim, fixed(picked.shape[0])).axes, [x])


def roll(state: Walk, x: Value, shifts: Any, dims: Any = ()) -> Result:
    for dim in np.atleast_1d(dims).astype(int).tolist() or range(x.ndim):
        state.pin(x.axes[dim], "moves round by a number")
    return value_of(x.axes, [x])


def flip(state: Walk, x: Value, dims: Sequence[int]) -> Result:
    axes = list(x.axes)
    for dim in dims:
        axes[dim] = axes[dim].take(slice(None, None, -1))
    return value_of(axes, [x])


def unfold(state: Walk, x: Value, dim: int, size: int, step: int) -> Result:
    shape = shape_of(state.node.meta["val"])
    state.pin(x.axes[dim], "slides over this axis")
    axes = list(x.axes)
    axes[dim] = fixed(shape[dim])
    return value_of([*axes, fixed(shape[-1])], [x])


def triangle(state: Walk, x: Value, diagonal: int = 0) -> Result:
    """tril, triu: which numbers of the last two axes stay depends on where they stand."""
    for axis in x.axes[-2:]:
        state.pin(axis, "counts along this axis")
    return value_of([axis.holds(np.where(axis.at == 0, 0.0, np.nan)) for axis in x.axes], [x])


def along(state: Walk, x: Value, dim: int, *args: Any, **kwargs: Any) -> Result:
    """cumsum, sort, gather...: what stands at one index depends on the others of its axis."""
    state.pin(x.axes[dim], "depends on all of this axis")
    return value_of([axis.holds(np.where(axis.at == 0, 0.0, np.nan)) for axis in x.axes], [x])
