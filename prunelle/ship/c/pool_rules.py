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
    """max_pool2d, avg_pool2d. Where `ceil_mode` lets a window go beyond the padding, nothing is counted there."""

    def rule(state: Lowering, node: fx.Node) -> Value:
        x, kernel, stride, padding, dilation, count, divisor = bound(
            node, "self", "kernel_size", "stride", "padding", "dilation", "count_include_pad", "divisor_override"
        )
        if pair(dilation, 1) != (1, 1) or divisor is not None:
            raise refused(node, "is dilated or has its own divisor; ship it as onnx")
        value, sides, counted = state.values[x], pair(kernel, 1), bool(count) and kind == "mean"
        _, _, height, width = shape_of(node.meta["val"])
        if isinstance(value, Numbers) and value.one_pixel and (height, width) == (1, 1):
            if counted and pair(padding, 0) != (0, 0):
                raise refused(node, "pools a vector with its padding; ship it as onnx")
            return value  # of one pixel, the largest and the mean
        value = state.channels(x)
        out, steps = state.new(value.refs.size, height, width), pair(stride, 0) if stride else sides
        state.ops.append(Pool(module_of(node), kind, flat(value), sides, steps, pair(padding, 0), counted, out))
        return pixel(state, whole(out), shape_of(node.meta["val"]), module_of(node))

    return rule


def adaptive(kind: str) -> Kernel:
    """Of a whole map, or of windows that divide it. kind max: the operator gives a pair, whose places nobody has."""

    def rule(state: Lowering, node: fx.Node) -> Value | list[Value | None]:
        value = state.values[node.args[0]]  # type: ignore[index]
        given = node.meta["val"]
        found = window(state, node, value, shape_of(given[0] if kind == "max" else given))
        return [found, None] if kind == "max" else found

    def window(state: Lowering, node: fx.Node, value: Value, shape: tuple[int, ...]) -> Value:
        height, width = shape[-2:]
        if isinstance(value, Numbers):
            if not value.one_pixel or (height, width) != (1, 1):
                raise refused(node, "pools a vector; ship it as onnx")
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
        return pixel(state, whole(out), shape, module_of(node))

    return rule


def mean_of(state: Lowering, node: fx.Node, value: Channels) -> Value:
    out = Vector(value.refs.size)
    state.ops.append(Mean(module_of(node), flat(value), out))
    return Numbers(out, shape_of(node.meta["val"]))


def mean(state: Lowering, node: fx.Node) -> Value:
    """Of rows and columns together."""
    x, axes = bound(node, "self", "dim")
    value = state.values[x]
    if not axes:
        raise refused(node, "takes the mean over all axes; ship it as onnx")
    if isinstance(value, Numbers) and value.one_pixel and {a % 4 for a in axes} <= {2, 3}:
        return Numbers(value.vector, shape_of(node.meta["val"]))
    if not isinstance(value, Channels) or sorted(a % 4 for a in axes) != [2, 3]:
        raise refused(node, f"takes the mean over axes {axes}; ship it as onnx")
    return mean_of(state, node, state.channels(x))
