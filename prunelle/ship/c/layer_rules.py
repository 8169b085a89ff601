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
    if isinstance(padding, str):
        raise refused(node, f"pads by the word {padding!r}; give numbers, or ship it as onnx")
    if isinstance(values, Numbers):
        if (height, width) != (1, 1) or not values.one_pixel:
            raise refused(node, "makes an image of a vector; ship it as onnx")
        return dense(
            state, node, values.vector, on_one_pixel(weights, pair(padding, 0), pair(dilation, 1), groups), shift
        )
    refs, inside = flat(values), (values.height, values.width)
    unpadded = pair(padding, 0) == values.pad == (0, 0)
    if (height, width) == (1, 1) and weights.shape[2:] == inside and groups == 1 and unpadded:
        flattened = as_vector(state, values, module_of(node))
        return dense(state, node, flattened, weights.reshape(len(weights), -1), shift)
    pads, out = pair(padding, 0), state.new(len(weights), height, width)
    before = pads[0] + values.pad[0], pads[1] + values.pad[1]
    options = pair(stride, 1), before, pair(dilation, 1), int(groups or 1)
    state.ops.append(Conv(module_of(node), refs, weights, shift, *options, out))
    return pixel(state, whole(out), shape_of(node.meta["val"]), module_of(node))


def on_one_pixel(weight: np.ndarray, pad: tuple[int, int], dilation: tuple[int, int], groups: int) -> np.ndarray:
    """The (out, in) matrix of a convolution whose input is one pixel: all other places of the kernel see padding.

    weight: (out, in / groups, rows, columns).
    """
    count, inputs = weight.shape[:2]
    matrix = np.zeros((count, inputs * groups))
    (row, no_row), (column, no_column) = divmod(pad[0], dilation[0]), divmod(pad[1], dilation[1])
    if no_row or no_column or row >= weight.shape[2] or column >= weight.shape[3]:
        return matrix
    for group in range(groups):
        outputs = slice(group * count // groups, (group + 1) * count // groups)
        matrix[outputs, group * inputs : (group + 1) * inputs] = weight[outputs, :, row, column]
    return matrix


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
    (training,) = bound(node, "training")
    if mean is None or var is None or training:
        raise refused(node, "has no running statistics, or does not use them; ship it as onnx")
    scale = 1 / np.sqrt(state.numbers(var) + eps)
    if weight is not None:
        scale = scale * state.numbers(weight)
    shift = -state.numbers(mean) * scale
    if bias is not None:
        shift = shift + state.numbers(bias)
    value = state.values[x]
    if len(scale) != (value.vector.count if isinstance(value, Numbers) else value.refs.size):
        raise refused(node, "normalises more than one vector or image; ship it as onnx")
    return each(state, node, value, Affine(scale, shift))


def activation(kind: str, low: float = 0.0, high: float = 0.0) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        return each(state, node, state.values[node.args[0]], Activate(kind, low, high))  # type: ignore[index]

    return rule


def clamp(state: Lowering, node: fx.Node) -> Value:
    names = ("min_val", "max_val") if short(node).startswith("hardtanh") else ("min", "max")
    low, high = bound(node, *names)
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise refused(node, "has limits that are tensors; ship it as onnx")
    far = float(np.finfo(np.float32).max)
    limits = [end if given is None else float(given) for given, end in ((low, -far), (high, far))]
    step = Activate("clamp", *(min(max(limit, -far), far) for limit in limits))
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
        axis = int(bound(node, "dim")[0])
        if not isinstance(value, Numbers) or value.shape[axis] != value.vector.count:
            raise refused(node, "works on an image, or along another axis than a vector's; ship it as onnx")
        out = Vector(value.vector.count)
        state.ops.append(Softmax(module_of(node), value.vector, log, out))
        return Numbers(out, value.shape)

    return rule
