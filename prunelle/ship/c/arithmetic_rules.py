"""Rules for sums and products: of two values, or of one and a constant."""

from __future__ import annotations

import numpy as np
from torch import fx

from prunelle.ship.c.lowering import Channels, Kernel, Lowering, Numbers, Value, each, flat, refused
from prunelle.ship.c.ops import AddMaps, Affine, Gate, JoinVector, MulMaps


def arithmetic(kind: str) -> Kernel:
    """add, sub, mul, div: of two maps, of a map and a gate, of two vectors, or with a constant."""

    def rule(state: Lowering, node: fx.Node) -> Value:
        first, second = node.args[0], node.args[1]
        if node.kwargs.get("alpha", 1) != 1:
            raise refused(node, "has an alpha; ship it as onnx")
        if node.kwargs.get("rounding_mode") is not None:
            raise refused(node, "rounds what it divides; ship it as onnx")
        constants = [not isinstance(a, fx.Node) or state.is_constant(a) for a in (first, second)]
        if any(constants):
            return with_constant(state, node, kind, constants.index(True))
        a, b = state.values[first], state.values[second]  # type: ignore[index]
        if kind in ("sub", "rsub", "div"):
            raise refused(node, "of two computed values has no rule for C; ship it as onnx")
        if isinstance(a, Numbers) and isinstance(b, Channels):
            a, b = b, a
        if isinstance(a, Channels) and isinstance(b, Numbers):
            if kind != "mul" or b.shape != (*a.refs.shape, 1, 1):
                raise refused(node, "joins an image and a vector; ship it as onnx")
            return each(state, node, a, Gate(b.vector))
        if isinstance(a, Numbers) and isinstance(b, Numbers) and a.shape == b.shape:
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
    shape = value.shape if isinstance(value, Numbers) else (*value.refs.shape, 1, 1)
    try:
        numbers = np.broadcast_to(constant, shape).reshape(-1)
    except ValueError:
        raise refused(node, f"joins a constant of shape {constant.shape}, neither one nor one a channel") from None
    ones = np.ones(len(numbers))
    scale, shift = {
        "add": (ones, numbers),
        "sub": (ones, -numbers) if where == 1 else (-ones, numbers),
        "rsub": (-ones, numbers) if where == 1 else (ones, -numbers),
        "mul": (numbers, 0 * ones),
        "div": (ones / numbers if kind == "div" else ones, 0 * ones),
    }[kind]
    return each(state, node, value, Affine(scale, shift))
