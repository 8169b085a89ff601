"""A trace becomes operations. An operator without a rule is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunelle.errors import ModelError
from prunelle.graph.folds import short
from prunelle.graph.trace import Graph, module_of, shape_of
from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import (
    ZERO,
    Activate,
    AddMaps,
    Affine,
    Conv,
    Flatten,
    Gate,
    Gather,
    JoinVector,
    Linear,
    Load,
    MapEach,
    Maps,
    Mean,
    MulMaps,
    Op,
    Pool,
    Program,
    Softmax,
    Step,
    Vector,
    VectorEach,
)


@dataclass(frozen=True)
class Channels:
    """A value that is an image. refs: numbers of channels, in the shape of the axes before height and width.
    pad: zeros that a pad operator put above and left; only a convolution may read such a value."""

    refs: np.ndarray
    height: int
    width: int
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Numbers:
    """A value that is a vector, whatever its axes are."""

    vector: Vector
    shape: tuple[int, ...]


Value = Channels | Numbers
Kernel = Callable[["Lowering", fx.Node], "Value | list[Value]"]


@dataclass
class Lowering:
    """What stands when the rules run. lanes: numbers in a vector of the target."""

    model: nn.Module
    graph: Graph
    lanes: int
    values: dict[fx.Node, Any] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    maps: list[Maps] = field(default_factory=list)
    next: int = ZERO + 1

    def new(self, channels: int, height: int, width: int) -> Maps:
        """A buffer for so many channels."""
        made = Maps(self.next, channels, layout_of(height, width, self.lanes))
        self.next += channels
        self.maps.append(made)
        return made

    def numbers(self, ref: Any) -> np.ndarray:
        """The values of a parameter, buffer or constant, float64."""
        name = self.graph.tensors.get(ref.name)
        found = self.graph.constants[ref.name] if name is None else fetch(self.model, name)
        return found.detach().to(torch.float64).cpu().numpy()

    def is_constant(self, ref: Any) -> bool:
        return isinstance(ref, fx.Node) and (ref.name in self.graph.tensors or ref.name in self.graph.constants)

    def channels(self, node: Any) -> Channels:
        value = self.values[node]
        if not isinstance(value, Channels) or value.refs.ndim != 2 or value.pad != (0, 0):
            raise refused(node, "is not a plain map of channels here")
        return value


def lower(model: nn.Module, graph: Graph, lanes: int) -> Program:
    """The operations of a traced network for one image.

    Raises ModelError, which names the operator, for what has no rule, and for networks with several inputs or outputs.
    """
    state = Lowering(model, graph, lanes)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"native: {type(model).__name__} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, the C "
            "file takes one image and gives one tensor; ship it as onnx."
        )
    result: Any = None
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in graph.inputs:
            state.values[node] = load(state, node)
        elif node.op == "call_function":
            rule = RULES.get(short(node).removesuffix("_"))
            if rule is None:
                raise refused(node, "has no rule for C; ship it as onnx")
            state.values[node] = rule(state, node)
        elif node.op == "output":
            result = state.values[node.args[0][0]]  # type: ignore[index]
            shape = shape_of(node.args[0][0].meta["val"])  # type: ignore[index, union-attr]
    return Program(state.ops, state.maps, as_vector(state, result, "output"), input_shape(graph), shape[1:])


def input_shape(graph: Graph) -> tuple[int, int, int]:
    node = next(n for n in graph.nodes if n.name == graph.inputs[0])
    return shape_of(node.meta["val"])[1:]  # type: ignore[return-value]


def refused(node: fx.Node, why: str) -> ModelError:
    where = module_of(node)
    return ModelError(f"native: operator {short(node)}{f' in {where}' if where else ''} {why}.")


def fetch(model: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last)


def load(state: Lowering, node: fx.Node) -> Value:
    shape = shape_of(node.meta["val"])
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"native: the input has shape {shape}, must be (1, channels, height, width); ship it as onnx.")
    out = state.new(*shape[1:])
    state.ops.append(Load("input", out))
    return whole(out)


def whole(out: Maps) -> Channels:
    refs = np.arange(out.first, out.first + out.count).reshape(1, -1)
    return Channels(refs, out.layout.height, out.layout.width)


def flat(value: Channels) -> list[int]:
    return [int(ref) for ref in value.refs.reshape(-1)]


def as_vector(state: Lowering, value: Value, name: str) -> Vector:
    """The value as a vector; a map is flattened."""
    if isinstance(value, Numbers):
        return value.vector
    out = Vector(value.refs.size * value.height * value.width)
    state.ops.append(Flatten(name, flat(value), out))
    return out


def pair(given: Any, default: int) -> tuple[int, int]:
    """An option that is one number or two."""
    if not isinstance(given, (list, tuple)):
        return (int(given), int(given)) if given is not None else (default, default)
    if not given:
        return default, default
    return int(given[0]), int(given[-1])


def bound(node: fx.Node, *names: str) -> list[Any]:
    """The arguments of an operator by position or by name; None where neither is given."""
    schema = [a for a in node.target._schema.arguments]  # type: ignore[union-attr]
    given = {
        a.name: (node.args[i] if i < len(node.args) else node.kwargs.get(a.name, a.default_value))
        for i, a in enumerate(schema)
    }
    return [given.get(name) for name in names]


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
    state.ops.append(
        Conv(
            module_of(node),
            refs,
            weights,
            shift,
            pair(stride, 1),
            (pads[0] + values.pad[0], pads[1] + values.pad[1]),
            pair(dilation, 1),
            int(groups or 1),
            out,
        )  # fmt: skip
    )
    return pixel(state, whole(out), node)


def pixel(state: Lowering, value: Channels, node: fx.Node) -> Value:
    """A map of one pixel is a vector from there on."""
    if (value.height, value.width) != (1, 1):
        return value
    return Numbers(as_vector(state, value, module_of(node)), shape_of(node.meta["val"]))


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


def each(state: Lowering, node: fx.Node, value: Value, step: Step) -> Value:
    """One step on all of a value."""
    if isinstance(value, Numbers):
        out = Vector(value.vector.count)
        state.ops.append(VectorEach(module_of(node), value.vector, out, [step]))
        return Numbers(out, value.shape)
    if value.pad != (0, 0):
        raise refused(node, "follows a pad; ship it as onnx")
    made = state.new(value.refs.size, value.height, value.width)
    state.ops.append(MapEach(module_of(node), flat(value), made, [step]))
    return Channels(whole(made).refs.reshape(value.refs.shape), value.height, value.width)


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


def arithmetic(kind: str) -> Kernel:
    """add, sub, mul, div: of two maps, of a map and a gate, of two vectors, or with a constant."""

    def rule(state: Lowering, node: fx.Node) -> Value:
        first, second = node.args[0], node.args[1]
        if node.kwargs.get("alpha", 1) != 1:
            raise refused(node, "has an alpha; ship it as onnx")
        constants = [not isinstance(a, fx.Node) or state.is_constant(a) for a in (first, second)]
        if any(constants):
            return with_constant(state, node, kind, constants.index(True))
        a, b = state.values[first], state.values[second]  # type: ignore[index]
        if kind in ("sub", "div"):
            raise refused(node, "of two computed values has no rule for C; ship it as onnx")
        if isinstance(a, Numbers) and isinstance(b, Channels):
            a, b = b, a
        if isinstance(a, Channels) and isinstance(b, Numbers):
            if kind != "mul" or b.vector.count != a.refs.size:
                raise refused(node, "joins an image and a vector; ship it as onnx")
            return each(state, node, a, Gate(b.vector))
        if isinstance(a, Numbers) and isinstance(b, Numbers) and a.vector.count == b.vector.count:
            return each(state, node, a, JoinVector(b.vector, kind))
        same = isinstance(a, Channels) and isinstance(b, Channels) and a.refs.shape == b.refs.shape
        if not same or (a.height, a.width) != (b.height, b.width) or a.pad != (0, 0) or b.pad != (0, 0):
            raise refused(node, "joins values of different shapes; ship it as onnx")
        return each(state, node, a, AddMaps(flat(b)) if kind == "add" else MulMaps(flat(b)))

    return rule


def with_constant(state: Lowering, node: fx.Node, kind: str, where: int) -> Value:
    """x + c, x - c, c - x, x * c, x / c for a number or one a channel."""
    value = state.values[node.args[1 - where]]  # type: ignore[index]
    given = node.args[where]
    constant = state.numbers(given) if isinstance(given, fx.Node) else np.array(float(given))  # type: ignore[arg-type]
    if kind == "div" and where == 0:
        raise refused(node, "divides a constant by a value; ship it as onnx")
    count = value.vector.count if isinstance(value, Numbers) else value.refs.size
    if constant.size not in (1, count):
        raise refused(node, f"joins a constant of {constant.size} numbers; ship it as onnx")
    numbers, ones = np.broadcast_to(constant.reshape(-1), count), np.ones(count)
    scale, shift = {
        "add": (ones, numbers),
        "sub": (ones, -numbers) if where == 1 else (-ones, numbers),
        "mul": (numbers, 0 * ones),
        "div": (1 / numbers if kind == "div" else ones, 0 * ones),
    }[kind]
    return each(state, node, value, Affine(scale, shift))


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
    if isinstance(value, Numbers) and set(a % len(value.shape) for a in axes) <= {2, 3}:
        return Numbers(value.vector, shape_of(node.meta["val"]))
    if not isinstance(value, Channels) or sorted(a % 4 for a in axes) != [2, 3]:
        raise refused(node, f"takes the mean over axes {axes}; ship it as onnx")
    return mean_of(state, node, state.channels(x))


def softmax(log: bool) -> Kernel:
    def rule(state: Lowering, node: fx.Node) -> Value:
        value = state.values[node.args[0]]  # type: ignore[index]
        if not isinstance(value, Numbers):
            raise refused(node, "works on an image; ship it as onnx")
        out = Vector(value.vector.count)
        state.ops.append(Softmax(module_of(node), value.vector, log, out))
        return Numbers(out, value.shape)

    return rule


def same(state: Lowering, node: fx.Node) -> Value:
    return state.values[node.args[0]]  # type: ignore[index]


def reshape(state: Lowering, node: fx.Node) -> Value:
    """view, reshape, flatten, squeeze, unsqueeze: free as long as height and width stay side by side."""
    value, shape = state.values[node.args[0]], shape_of(node.meta["val"])  # type: ignore[index]
    if isinstance(value, Numbers):
        return Numbers(value.vector, shape)
    if len(shape) >= 2 and shape[-2:] == (value.height, value.width) and prod(shape[:-2]) == value.refs.size:
        return Channels(value.refs.reshape(shape[:-2]), value.height, value.width)
    return Numbers(as_vector(state, value, module_of(node)), shape)


def permute(state: Lowering, node: fx.Node) -> Value:
    value, ndim = state.values[node.args[0]], len(shape_of(node.meta["val"]))  # type: ignore[index]
    if short(node).startswith("transpose"):
        order = list(range(ndim))
        a, b = (int(node.args[i]) % ndim for i in (1, 2))  # type: ignore[call-overload]
        order[a], order[b] = order[b], order[a]
    else:
        order = [int(i) % ndim for i in node.args[1]]  # type: ignore[union-attr, call-overload]
    if not isinstance(value, Channels) or order[-2:] != [ndim - 2, ndim - 1]:
        raise refused(node, "moves rows or columns; ship it as onnx")
    return Channels(value.refs.transpose(order[:-2]), value.height, value.width)


def concat(state: Lowering, node: fx.Node) -> Value:
    parts = [state.values[part] for part in node.args[0]]  # type: ignore[union-attr, index]
    axis = int(bound(node, "dim")[0] or 0)
    if all(isinstance(part, Channels) for part in parts):
        ndim = parts[0].refs.ndim + 2
        if axis % ndim >= ndim - 2:
            raise refused(node, "joins rows or columns; ship it as onnx")
        refs = np.concatenate([part.refs for part in parts], axis % ndim)
        return Channels(refs, parts[0].height, parts[0].width)
    if all(isinstance(part, Numbers) for part in parts) and axis % len(parts[0].shape) == 1:
        out = Vector(sum(part.vector.count for part in parts))
        state.ops.append(Gather(module_of(node), [(part.vector, 0, part.vector.count) for part in parts], out))
        return Numbers(out, shape_of(node.meta["val"]))
    raise refused(node, "joins images and vectors; ship it as onnx")


def split(state: Lowering, node: fx.Node) -> list[Value]:
    """chunk, split, split_with_sizes along the channels."""
    value, pieces = state.values[node.args[0]], node.meta["val"]  # type: ignore[index]
    axis = int(bound(node, "dim")[0] or 0)
    first, found = 0, list[Value]()
    for piece in pieces:
        count = shape_of(piece)[axis]
        if isinstance(value, Channels) and axis % (value.refs.ndim + 2) < value.refs.ndim:
            refs = value.refs.take(range(first, first + count), axis)
            found.append(Channels(refs, value.height, value.width))
        elif isinstance(value, Numbers) and axis % len(value.shape) == 1:
            out = Vector(count)
            state.ops.append(Gather(module_of(node), [(value.vector, first, count)], out))
            found.append(Numbers(out, shape_of(piece)))
        else:
            raise refused(node, "splits rows or columns; ship it as onnx")
        first += count
    return found


def getitem(state: Lowering, node: fx.Node) -> Value:
    return state.values[node.args[0]][node.args[1]]  # type: ignore[index]


def cut_out(state: Lowering, node: fx.Node) -> Value:
    """slice: of channels free; of rows and columns with one step, a pooling with a kernel of one pixel."""
    x, axis, start, end, step = bound(node, "self", "dim", "start", "end", "step")
    value = state.values[x]
    if shape_of(x.meta["val"]) == shape_of(node.meta["val"]):
        return value
    axis = int(axis or 0)
    if isinstance(value, Channels) and axis % (value.refs.ndim + 2) < value.refs.ndim:
        places = range(value.refs.shape[axis])[slice(start, end, step)]
        return Channels(value.refs.take(places, axis), value.height, value.width)
    if isinstance(value, Channels) and value.refs.ndim == 2 and not start:
        height, width = shape_of(node.meta["val"])[-2:]
        strides = (int(step or 1), 1) if axis % 4 == 2 else (1, int(step or 1))
        out = state.new(value.refs.size, height, width)
        state.ops.append(Pool(module_of(node), "max", flat(value), (1, 1), strides, (0, 0), False, out))
        return whole(out)
    raise refused(node, "cuts a piece that has no rule for C; ship it as onnx")


def pad(state: Lowering, node: fx.Node) -> Value:
    x, sides, mode, fill = bound(node, "self", "pad", "mode", "value")
    value = state.channels(x)
    widths = [int(s) for s in sides] + [0] * (6 - len(sides))
    if mode not in (None, "constant") or (fill or 0) != 0 or min(widths) < 0:
        raise refused(node, "pads with something else than zeros; ship it as onnx")
    left, _, above, _, before, after = widths
    zeros = [np.full((1, n), ZERO, dtype=value.refs.dtype) for n in (before, after)]
    refs = np.concatenate([zeros[0], value.refs, zeros[1]], 1)
    spatial = any(widths[:4])
    if spatial and any(short(user).removesuffix("_") != "conv2d" for user in node.users):
        raise refused(node, "pads an image that something else than a convolution reads; ship it as onnx")
    return Channels(refs, value.height, value.width, (above, left) if spatial else (0, 0))


RULES: dict[str, Any] = {
    "conv2d": conv, "linear": linear, "batch_norm": batch_norm, "relu": activation("relu"),
    "sigmoid": activation("sigmoid"), "silu": activation("silu"), "tanh": activation("tanh"),
    "hardswish": activation("hardswish"), "hardsigmoid": activation("hardsigmoid"), "gelu": gelu,
    "leaky_relu": leaky, "hardtanh": clamp, "relu6": activation("clamp", 0.0, 6.0), "clamp": clamp,
    "add": arithmetic("add"), "sub": arithmetic("sub"), "mul": arithmetic("mul"), "div": arithmetic("div"),
    "max_pool2d": pool("max"), "avg_pool2d": pool("mean"), "adaptive_avg_pool2d": adaptive("mean"),
    "adaptive_max_pool2d": adaptive("max"), "mean": mean, "softmax": softmax(False), "log_softmax": softmax(True),
    "dropout": same, "alias": same, "detach": same, "contiguous": same, "clone": same, "to": same, "identity": same,
    "feature_dropout": same, "view": reshape, "reshape": reshape, "_unsafe_view": reshape, "flatten": reshape,
    "squeeze": reshape, "unsqueeze": reshape, "permute": permute, "transpose": permute, "cat": concat,
    "concat": concat, "chunk": split, "split": split, "split_with_sizes": split, "getitem": getitem,
    "slice": cut_out, "pad": pad, "constant_pad_nd": pad,
}  # fmt: skip
