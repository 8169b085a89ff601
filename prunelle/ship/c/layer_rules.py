"""Rules for layers with weights, and for activations."""

from __future__ import annotations

from math import prod

import numpy as np
from torch import fx

from prunelle.graph.folds import short
from prunelle.graph.trace import module_of, shape_of
from prunelle.ship.c.lowering import (
    Kernel,
    Lowering,
    Numbers,
    Value,
    as_vector,
    bound,
    each,
    flat,
    pair,
    pixel,
    refused,
    whole,
)
from prunelle.ship.c.ops import Activate, Affine, Conv, Linear, Softmax, Vector


def conv(state: Lowering, node: fx.Node) -> Value:
    x, weight, bias, stride, padding, dilation, groups = bound(
        node, "input", "weight", "bias", "stride", "padding", "dilation", "groups"
    )
    values, weights = state.values[x], state.numbers(weight)
    shift = state.numbers(bias) if bias is not None else np.zeros(len(weights))
    _, _, height, width = shape_of(node.meta["val"])
    if isinstance(values, Numbers):
        if weights.shape[2:] != (1, 1) or groups != 1:
            raise refused(node, "works on a single pixel, with groups or a larger kernel; ship it as onnx")
        return dense(state, node, values.vector, weights[:, :, 0, 0], shift)
    if isinstance(padding, str):
        raise refused(node, f"pads by the word {padding!r}; give numbers, or ship it as onnx")
    refs, inside = flat(values), (values.height, values.width)
    if (height, width) == (1, 1) and weights.shape[2:] == inside and groups == 1 and pair(padding, 0) == (0, 0):
        flattened = as_vector(state, values, module_of(node))
        return dense(state, node, flattened, weights.reshape(len(weights), -1), shift)
    pads, out = pair(padding, 0), state.new(len(weights), height, width)
    before = pads[0] + values.pad[0], pads[1] + values.pad[1]
    options = pair(stride, 1), before, pair(dilation, 1), int(groups or 1)
    state.ops.append(Conv(module_of(node), refs, weights, shift, *options, out))
    return pixel(state, whole(out), node)


def dense(state: Lowering, node: fx.Node, x: Vector, weight: np.ndarray, bias: np.ndarray) -> Value:
    out = Vector(len(weight))
    state.ops.append(Linear(module_of(node), x, weight, bias, out))
    return Numbers(out, shape_of(node.meta["val"]))


def linear(state: Lowering, node: fx.Node) -> Value:
    x, weight, bias = bound(node, "input", "weight", "bias")
    weights = state.numbers(weight)
    value = state.values[x]
    if not isinstance(value, Numbers) or prod(value.shape) != weights.shape[1]:
        raise refused(node, "works on more than one vector; ship it as onnx")
    return dense(
        state, node, value.vector, weights, state.numbers(bias) if bias is not None else np.zeros(len(weights))
    )


def batch_norm(state: Lowering, node: fx.Node) -> Value:
    x, weight, bias, mean, var, eps = bound(node, "input", "weight", "bias", "running_mean", "running_var", "eps")
    if mean is None or var is None:
        raise refused(node, "has no running statistics; ship it as onnx")
    scale = 1 / np.sqrt(state.numbers(var) + eps)
    if weight is not None:
        scale = scale * state.numbers(weight)
    shift = -state.numbers(mean) * scale
    if bias is not None:
        shift = shift + state.numbers(bias)
    return each(state, node, state.values[x], Affine(scale, shift))


def activation(kind: str, low: float = 0.0, high: float = 0.0) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        return each(state, node, state.values[node.args[0]], Activate(kind, low, high))  # type: ignore[index]

    return rule


def clamp(state: Lowering, node: fx.Node) -> Value:
    names = ("min_val", "max_val") if short(node).startswith("hardtanh") else ("min", "max")
    low, high = bound(node, *names)
    far = float(np.finfo(np.float32).max)
    step = Activate("clamp", -far if low is None else float(low), far if high is None else float(high))
    return each(state, node, state.values[node.args[0]], step)  # type: ignore[index]


def leaky(state: Lowering, node: fx.Node) -> Value:
    (slope,) = bound(node, "negative_slope")
    return each(state, node, state.values[node.args[0]], Activate("leaky", float(slope)))  # type: ignore[index]


def gelu(state: Lowering, node: fx.Node) -> Value:
    (kind,) = bound(node, "approximate")
    return each(state, node, state.values[node.args[0]], Activate("gelu_tanh" if kind == "tanh" else "gelu"))  # type: ignore[index]


def softmax(log: bool) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        value = state.values[node.args[0]]  # type: ignore[index]
        if not isinstance(value, Numbers):
            raise refused(node, "works on an image; ship it as onnx")
        out = Vector(value.vector.count)
        state.ops.append(Softmax(module_of(node), value.vector, log, out))
        return Numbers(out, value.shape)

    return rule
