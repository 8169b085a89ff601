"""Operators that take one number from an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from prunelle.graph.value import Axis, Value, fixed, value_of
from prunelle.graph.walk import Result, Walk, shape_of

KEEPS_CONSTANT = ("mean", "amax", "amin", "max", "min", "median")
ZEROS_ADD_NOTHING = ("sum", "linalg_vector_norm", "norm")


def reduce(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """Zeros add nothing to a sum or a norm, so its axis may shrink; a mean or a maximum would come out otherwise."""
    name = str(state.node.target).split(".")[1]
    dims, keepdim = reduced(name, x, args, kwargs)
    order = (args[0] if args else kwargs.get("ord", 2)) if name.endswith("norm") else 1
    axes: list[Axis] = []
    for position, axis in enumerate(x.axes):
        if position not in dims:
            zero = name not in ("logsumexp", "all", "any")
            axes.append(axis if name in KEEPS_CONSTANT else axis.holds(np.where((axis.at == 0) & zero, 0.0, np.nan)))
            continue
        if name in ZEROS_ADD_NOTHING and (order is None or float(order) > 0):
            state.pin(axis.labels[~(axis.at == 0)], "a removed index would add something that is not 0")
        else:
            state.pin(axis, f"takes the {name} over this axis")
        if keepdim:
            axes.append(fixed(1))
    given = value_of(axes, [x])
    meta = state.node.meta["val"]
    return [given] * len(meta) if isinstance(meta, (list, tuple)) else given


def reduced(name: str, x: Value, args: Any, kwargs: Any) -> tuple[set[int], bool]:
    """(axes that go, whether they stay with size 1), by the shapes of what comes in and out where arguments differ."""
    rest = list(args[1:] if name.endswith("norm") else args)
    dim = kwargs.get("dim", rest[0] if rest else None)
    keepdim = kwargs.get("keepdim", rest[1] if len(rest) > 1 and isinstance(rest[1], bool) else False)
    if name in ("var", "std", "var_mean", "std_mean"):
        keepdim = kwargs.get("keepdim", rest[2] if len(rest) > 2 else False)
    every = set(range(x.ndim))
    if dim is None or isinstance(dim, bool) or (isinstance(dim, (list, tuple)) and not dim):
        return every, bool(keepdim)
    return {int(d) % x.ndim for d in np.atleast_1d(dim)}, bool(keepdim)


def softmax(state: Walk, x: Value, dim: int, *args: Any, **kwargs: Any) -> Result:
    """Also log_softmax: exp(0) is 1, so every index counts."""
    state.pin(x.axes[dim], "normalises over this axis")
    return value_of([axis.holds(np.nan) for axis in x.axes], [x])


def arg(state: Walk, x: Value, dim: int | None = None, keepdim: bool = False, **kwargs: Any) -> Result:
    """argmax, argmin: a number that counts indices."""
    for position, axis in enumerate(x.axes):
        if dim is None or position == dim % x.ndim:
            state.pin(axis, "counts along this axis")
    shape = shape_of(state.node.meta["val"])
    if dim is None:
        return value_of([fixed(n) for n in shape], [x])
    axes = [axis.holds(np.nan) for i, axis in enumerate(x.axes) if i != dim % x.ndim or keepdim]
    if keepdim:
        axes[dim] = fixed(1)
    return value_of(axes, [x])
