"""A trace becomes operations. An operator without a rule is refused by name."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from prunelle.errors import ModelError
from prunelle.graph.folds import short
from prunelle.graph.trace import Graph, shape_of
from prunelle.ship.c.arithmetic_rules import arithmetic
from prunelle.ship.c.layer_rules import activation, batch_norm, clamp, conv, gelu, leaky, linear, softmax
from prunelle.ship.c.lowering import Lowering, Value, as_vector, refused, whole
from prunelle.ship.c.ops import Load, Program
from prunelle.ship.c.pool_rules import adaptive, mean, pool
from prunelle.ship.c.shape_rules import concat, cut_out, getitem, pad, permute, reshape, same, split


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
    refuse_writes_into_views(graph)
    result: Any = None
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in graph.inputs:
            state.values[node] = load(state, node)
        elif node.op == "call_function" and not state.fold(node):
            rule = RULES.get(short(node).removesuffix("_"))
            if rule is None:
                raise refused(node, "has no rule for C; ship it as onnx")
            if any(state.values.get(given, given) is None for given in node.all_input_nodes):
                raise refused(node, "reads the places that a pooling found; ship it as onnx")
            state.values[node] = rule(state, node)
        elif node.op == "output":
            result = state.values[node.args[0][0]]  # type: ignore[index]
            shape = shape_of(node.args[0][0].meta["val"])  # type: ignore[index, union-attr]
    return Program(state.ops, state.maps, as_vector(state, result, "output"), input_shape(graph), shape[1:])


VIEWS = {
    "view",
    "reshape",
    "_unsafe_view",
    "flatten",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "alias",
    "detach",
}
VIEWS |= {"contiguous", "to", "dropout", "chunk", "split", "split_with_sizes", "slice", "select", "getitem"}
"""Operators whose result may be the memory of what they are given."""


def refuse_writes_into_views(graph: Graph) -> None:
    """Operators in place give their result a new name; whoever still asks for the same memory by an older name would
    get what was there before. Raises ModelError for those."""
    place, root = {node: index for index, node in enumerate(graph.nodes)}, dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        word = short(node) if node.op == "call_function" else ""
        inside = word.endswith("_") and not word.startswith("_")
        first = node.args[0] if node.args else None
        if isinstance(first, fx.Node) and (inside or word in VIEWS):
            root[node] = root.get(first, first)
        if not inside:
            continue
        names = [n for n in place if place[n] < place[node] and root.get(n, n) is root[node]]
        if any(place[user] > place[node] for name in names for user in name.users):
            raise refused(node, "writes into memory that is read by another name later; write x = f(x) there")


def input_shape(graph: Graph) -> tuple[int, int, int]:
    node = next(n for n in graph.nodes if n.name == graph.inputs[0])
    return shape_of(node.meta["val"])[1:]  # type: ignore[return-value]


def load(state: Lowering, node: fx.Node) -> Value:
    shape = shape_of(node.meta["val"])
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"native: the input has shape {shape}, must be (1, channels, height, width); ship it as onnx.")
    out = state.new(*shape[1:])
    state.ops.append(Load("input", out))
    return whole(out)


RULES: dict[str, Any] = {
    "conv2d": conv, "linear": linear, "batch_norm": batch_norm, "relu": activation("relu"),
    "sigmoid": activation("sigmoid"), "silu": activation("silu"), "tanh": activation("tanh"),
    "hardswish": activation("hardswish"), "hardsigmoid": activation("hardsigmoid"), "gelu": gelu,
    "leaky_relu": leaky, "hardtanh": clamp, "relu6": activation("clamp", 0.0, 6.0), "clamp": clamp,
    "add": arithmetic("add"), "sub": arithmetic("sub"), "rsub": arithmetic("rsub"),
    "mul": arithmetic("mul"), "div": arithmetic("div"),
    "max_pool2d": pool("max"), "avg_pool2d": pool("mean"), "adaptive_avg_pool2d": adaptive("mean"),
    "adaptive_max_pool2d": adaptive("max"), "mean": mean, "softmax": softmax(False), "log_softmax": softmax(True),
    "dropout": same, "alias": same, "detach": same, "contiguous": same, "clone": same, "to": same, "identity": same,
    "feature_dropout": same, "_assert_tensor_metadata": same,
    "view": reshape, "reshape": reshape, "_unsafe_view": reshape,
    "flatten": reshape, "squeeze": reshape, "unsqueeze": reshape, "permute": permute, "transpose": permute,
    "cat": concat, "concat": concat, "chunk": split, "split": split, "split_with_sizes": split, "getitem": getitem,
    "slice": cut_out, "pad": pad, "constant_pad_nd": pad,
}  # fmt: skip
