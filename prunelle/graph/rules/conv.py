"""Convolutions, plain, grouped and transposed."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from prunelle.graph.rules.contract import consume, mark, passed, produce
from prunelle.graph.value import Axis, Value, fixed, value_of
from prunelle.graph.walk import Grouped, Result, Walk, shape_of


def conv(
    state: Walk,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Result:
    """(N, C, ...) or (C, ...) with a weight of (out, C / groups, ...)."""
    spatial = weight.ndim - 2
    channel = x.ndim - spatial - 1
    for axis in (*x.axes[channel + 1 :], *weight.axes[2:]):
        state.pin(axis, "slides over this axis")
    source = x.axes[channel]
    if groups == 1:
        whole = isinstance(padding, str) or any(np.atleast_1d(padding))
        consume(state, source, weight.axes[1].labels, weight, bias, not whole)
        mark(state, weight, 1)
        made = produce(state, weight, 0, 1, bias)
    else:
        made = grouped(state, source, weight, bias, groups)
    shape = shape_of(state.node.meta["val"])
    per_group = groups > 1 and not any(each.tensor == weight.tensor for each in state.grouped)
    state.cost(prod(shape) * prod(weight.shape[1:]), made, *([] if per_group else [source]))
    sources = [x, weight] if bias is None else [x, weight, bias]
    return value_of([*passed(x.axes[:channel], bias is None), made, *map(fixed, shape[channel + 1 :])], sources)


def grouped(state: Walk, source: Axis, weight: Value, bias: Value | None, groups: int) -> Axis:
    """Either whole groups go, or every group loses equally many inputs, and equally many outputs."""
    inputs = source.labels.reshape(groups, -1)
    options = 1 if inputs.shape[1] == 1 or len(weight.axes[0]) == groups or not weight.tensor else 2
    made = produce(state, weight, 0, 1, bias)
    outputs = made.labels.reshape(groups, -1)
    consume(state, source, source.labels, weight, bias, False)
    state.sized.append((state.node, weight))
    if options == 2 and state.choose(0, 2) == 0:
        state.pin(weight.axes[1], "")  # cut group by group, not along the axis
        before = next((each for each in state.grouped if each.tensor == weight.tensor), None)
        if before is None:
            state.grouped.append(Grouped(weight.tensor, inputs))
        else:
            state.join(before.labels.ravel(), inputs.ravel(), "is called more than once with the same weight")
        state.balance(list(inputs), "every group keeps equally many inputs")
        state.balance(list(outputs), "every group keeps equally many outputs")
        state.note(0, np.concatenate([inputs.ravel(), outputs.ravel()]), 2)
        return made
    state.pin(weight.axes[1], "a group goes whole")
    units = inputs[:, 0]
    for column in range(1, inputs.shape[1]):
        state.join(units, inputs[:, column], "a group goes whole")
    for column in range(outputs.shape[1]):
        state.join(units, outputs[:, column], "a group goes whole, its outputs with its inputs")
    return made


def conv_transpose(
    state: Walk,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Result:
    """(N, C, ...) with a weight of (C, out / groups, ...)."""
    spatial = weight.ndim - 2
    channel = x.ndim - spatial - 1
    for axis in (*x.axes[channel + 1 :], *weight.axes[2:]):
        state.pin(axis, "slides over this axis")
    source = x.axes[channel]
    sources = [x, weight] if bias is None else [x, weight, bias]
    shape = shape_of(state.node.meta["val"])
    consume(state, source, weight.axes[0].labels, weight, bias, False)
    mark(state, weight, 0)
    if groups == 1:
        made = produce(state, weight, 1, 1, bias)
    elif len(source) == groups and shape[channel] == groups:
        made = source.holds(0.0)
        state.zero(Value((source,), "", weight.made_of), 0)
        if bias is not None:
            state.join(made, bias.axes[0], "adds a bias that cannot shrink")
            state.zero(bias, 0)
    else:
        for each in (source, weight.axes[0], weight.axes[1]):
            state.pin(each, "a transposed convolution with groups")
        made = fixed(shape[channel])
        if bias is not None:
            state.pin(bias.axes[0], "a transposed convolution with groups")
    state.cost(prod(x.shape) * prod(weight.shape[1:]), made, *([source] if groups == 1 else []))
    return value_of([*passed(x.axes[:channel], bias is None), made, *map(fixed, shape[channel + 1 :])], sources)
