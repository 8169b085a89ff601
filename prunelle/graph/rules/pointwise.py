"""Operators that work number by number, and those that change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from prunelle.graph.value import At, Axis, Value, fixed, fixed_value, value_of
from prunelle.graph.walk import Result, Walk, flat, shape_of

PRODUCTS = ("mul", "mul_")
SCALES = ("mul", "mul_", "div", "div_")


def unknown(state: Walk, *args: Any, **kwargs: Any) -> Result:
    """An operator without a rule: nothing that goes in may shrink."""
    sources = [*flat(list(args)), *flat(kwargs)]
    for value in sources:
        state.pin_all(value, f"there is no rule for {state.node.target}")
    meta = state.node.meta.get("val")
    if torch.is_tensor(meta):
        return fixed_value(shape_of(meta), sources)
    if isinstance(meta, (list, tuple)):
        return [fixed_value(shape_of(m), sources) if torch.is_tensor(m) else None for m in meta]
    return None


def same(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """A copy, a cast, dropout in eval mode."""
    return value_of(x.axes, [x])


def nothing(state: Walk, *args: Any, **kwargs: Any) -> Result:
    """An assertion: nothing comes out."""
    return None


def created(state: Walk, *args: Any, **kwargs: Any) -> Result:
    """A tensor made on the spot, or several; their sizes are numbers in the forward."""
    for value in flat(list(args)) if "meshgrid" in str(state.node.target) else ():
        state.pin_all(value, "makes a tensor of this size")
    meta = state.node.meta["val"]
    made = [fixed_value(shape_of(each)) for each in (meta if isinstance(meta, (list, tuple)) else [meta])]
    return made if isinstance(meta, (list, tuple)) else made[0]


def like(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """A constant of the shape of x."""
    return Value(tuple(axis.holds(np.nan) for axis in x.axes))


def pointwise(state: Walk, *args: Any, **kwargs: Any) -> Result:
    """Any number of tensors, broadcast against each other. Indices at one place live or die together."""
    values = flat(list(args)) + flat(kwargs)
    shape = shape_of(state.node.meta["val"])
    axes = []
    for position, size in enumerate(shape):
        back = len(shape) - position
        parts = [v.axes[v.ndim - back] if v.ndim >= back else fixed(1) for v in values]
        wide = [part for part in parts if len(part) == size and size > 1]
        if not any(part.free for part in wide):
            axes.append(fixed(size))
            continue
        for part in wide[1:]:
            state.join(wide[0], part, "meets something that cannot shrink")
        axes.append(wide[0].holds(combined(state, args, kwargs, values, parts, size)))
        labels = np.maximum.reduce([part.labels for part in wide])
        axes[-1] = Axis(np.where(axes[-1].labels == 0, 0, labels), axes[-1].at)
    if any(value.made_of is None for value in values):
        for value in values:
            for axis in range(value.ndim):
                state.zero(value, axis)
    note_root(state, args)
    return value_of(axes, values)


def note_root(state: Walk, args: Any) -> None:
    """Remember a factor that is the square root of a size that may shrink: the forward may work it out from there."""
    if len(args) < 2 or not isinstance(args[1], float) or args[1] <= 0 or not isinstance(args[0], Value):
        return
    name = str(state.node.target).split(".")[1]
    node = state.node.args[0]
    assert isinstance(node, fx.Node)
    candidates = [(node, axis.labels) for axis in args[0].axes[-1:]]
    if node in state.summed:
        candidates.append(state.summed[node])
    for source, labels in candidates:
        for power, value in ((1, len(labels) ** -0.5), (-1, len(labels) ** 0.5)):
            if (labels != 0).any() and np.isclose(args[1], value, rtol=1e-6) and name in SCALES:
                state.roots.append((state.node, source, labels, power if name.startswith("mul") else -power))


def combined(state: Walk, args: Any, kwargs: Any, values: list[Value], parts: list[Axis], size: int) -> At:
    """What the operator gives at removed indices of one axis: the operator itself, on what goes in there."""
    inputs = [np.asarray(p.at) if len(p) == size else np.full(size, np.nan) for p in parts]
    name = str(state.node.target).split(".")[1]
    if name in PRODUCTS and len(inputs) == 2:
        # 0 times anything is 0, also what is not known.
        a, b = inputs
        return np.where((a == 0) | (b == 0), 0.0, a * b)
    by_value = {id(value): torch.from_numpy(each.copy()) for value, each in zip(values, inputs, strict=True)}
    try:
        with torch.no_grad():
            given = state.node.target(*put(args, by_value), **put(kwargs, by_value))  # type: ignore[operator,misc]
    except Exception:
        return np.full(size, np.nan)
    if not given.is_floating_point():
        return np.full(size, np.nan)
    known = np.logical_and.reduce([~np.isnan(each) for each in inputs])
    return np.where(known, given.to(torch.float64).expand(size).numpy(), np.nan)


def put(argument: Any, tensors: dict[int, torch.Tensor]) -> Any:
    """An argument with small tensors in the places of values."""
    if isinstance(argument, Value):
        return tensors[id(argument)].clone()
    if isinstance(argument, (list, tuple)):
        return [put(each, tensors) for each in argument]
    if isinstance(argument, dict):
        return {key: put(each, tensors) for key, each in argument.items()}
    return argument


def prelu(state: Walk, x: Value, weight: Value) -> Result:
    """A slope for each channel, or one for all; 0 stays 0."""
    channel = 1 if x.ndim > 1 else 0
    if weight.shape != (1,):
        state.join(x.axes[channel], weight.axes[0], "has a slope for each channel")
    return value_of([axis.holds(np.where(axis.at == 0, 0.0, np.nan)) for axis in x.axes], [x, weight])


def glu(state: Walk, x: Value, dim: int = -1) -> Result:
    """First half times the sigmoid of the second."""
    axis = x.axes[dim]
    half = len(axis) // 2
    first, second = axis.take(slice(0, half)), axis.take(slice(half, None))
    state.join(first, second, "gates one half by the other")
    return value_of(x.with_axis(dim % x.ndim, first.holds(np.where(first.at == 0, 0.0, np.nan))).axes, [x])


def copied(state: Walk, target: Value, source: Value, *args: Any) -> Result:
    """copy_: the target, possibly a view of something larger, is written over."""
    whole = pointwise(state, target, source)
    assert isinstance(whole, Value)
    for old, new in zip(target.axes, whole.axes, strict=True):
        if new.free and not np.array_equal(old.at, new.at, equal_nan=True):
            state.pin(new, "writes into part of a tensor")
    return whole
