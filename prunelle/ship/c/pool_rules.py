"""Rules for pooling and means."""

from __future__ import annotations

from torch import fx

from prunelle.graph.trace import module_of, shape_of
from prunelle.ship.c.lowering import (
    Channels,
    Kernel,
    Lowering,
    Numbers,
    Value,
    bound,
    flat,
    pair,
    pixel,
    refused,
    whole,
)
from prunelle.ship.c.ops import Mean, Pool, Vector


def pool(kind: str) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        x, kernel, stride, padding, dilation, count, divisor = bound(
            node, "self", "kernel_size", "stride", "padding", "dilation", "count_include_pad", "divisor_override"
        )
        if pair(dilation, 1) != (1, 1) or divisor is not None:
            raise refused(node, "is dilated or has its own divisor; ship it as onnx")
        value, sides = state.channels(x), pair(kernel, 1)
        _, _, height, width = shape_of(node.meta["val"])
        out, steps = state.new(value.refs.size, height, width), pair(stride, 0) if stride else sides
        counted = bool(count) if kind == "mean" else False
        state.ops.append(Pool(module_of(node), kind, flat(value), sides, steps, pair(padding, 0), counted, out))
        return pixel(state, whole(out), node)

    return rule


def adaptive(kind: str) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        value = state.values[node.args[0]]  # type: ignore[index]
        _, _, height, width = shape_of(node.meta["val"])
        if isinstance(value, Numbers):
            return value
        if (height, width) == (value.height, value.width):
            return value
        if (height, width) == (1, 1) and kind == "mean":
            return mean_of(state, node, value)
        if value.height % height or value.width % width:
            raise refused(node, f"makes {height} x {width} of {value.height} x {value.width}; ship it as onnx")
        sides = value.height // height, value.width // width
        out = state.new(value.refs.size, height, width)
        state.ops.append(Pool(module_of(node), kind, flat(value), sides, sides, (0, 0), True, out))
        return pixel(state, whole(out), node)

    return rule


def mean_of(state: Lowering, node: fx.Node, value: Channels) -> Value:
    out = Vector(value.refs.size)
    state.ops.append(Mean(module_of(node), flat(value), out))
    return Numbers(out, shape_of(node.meta["val"]))


def mean(state: Lowering, node: fx.Node) -> Value:
    x, axes = bound(node, "self", "dim")
    value = state.values[x]
    if isinstance(value, Numbers) and {a % len(value.shape) for a in axes} <= {2, 3}:
        return Numbers(value.vector, shape_of(node.meta["val"]))
    if not isinstance(value, Channels) or sorted(a % 4 for a in axes) != [2, 3]:
        raise refused(node, f"takes the mean over axes {axes}; ship it as onnx")
    return mean_of(state, node, state.channels(x))
