"""Weighted sums over channels: linear layers, products of matrices, embeddings; what convolutions share with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from prunelle.graph.ties import Labels
from prunelle.graph.value import Axis, Value, fixed, value_of
from prunelle.graph.walk import Consumer, Producer, Result, Walk


def produce(state: Walk, weight: Value, axis: int, argument: int, bias: Value | None = None, repeats: int = 1) -> Axis:
    """The axis of channels that a weight's axis makes. Masking sets its rows, and the bias, to 0."""
    made = weight.axes[axis]
    node = state.node.args[argument]
    if weight.made_of is not None:
        state.zero(weight, axis)
        if isinstance(node, fx.Node) and made.free:
            state.producers.append(Producer(state.node, node, axis, made.labels, repeats))
        made = made.holds(np.where(made.at == 0, 0.0, np.nan))
    if bias is not None:
        state.join(made, bias.axes[0], "adds a bias that cannot shrink")
        if bias.made_of is None:
            made = made.holds(np.nan)
        state.zero(bias, 0)
    return made


def consume(state: Walk, axis: Axis, labels: Labels, weight: Value, bias: Value | None, foldable: bool) -> None:
    """Sum over an axis. What is removed must come in as 0, or as one number that the bias can take over."""
    state.join(axis.labels, labels, "sums over channels that its weights cannot lose")
    absent = axis.free & ~(axis.at == 0)
    if not np.any(absent & (axis.labels != 0)):
        return
    held = bias is not None and bool(bias.tensor and weight.tensor) and once(state, 1) and once(state, 2)
    known = ~np.isnan(axis.at) if foldable and held else False
    state.pin(axis.labels[absent & ~np.asarray(known)], "a removed channel would come in as something that is not 0")
    if np.any(known):
        state.consumers.append(Consumer(state.node, weight, bias, axis.labels, axis.at))


def once(state: Walk, argument: int) -> bool:
    """Whether nothing but the current node reads this argument: what is folded into it would go elsewhere too."""
    node = state.node.args[argument] if len(state.node.args) > argument else None
    return isinstance(node, fx.Node) and len(node.users) == 1


def linear(state: Walk, x: Value, weight: Value, bias: Value | None = None) -> Result:
    consume(state, x.axes[-1], weight.axes[1].labels, weight, bias, True)
    mark(state, weight, 1)
    if isinstance(state.owner(), nn.MultiheadAttention):
        width = len(x.axes[-1])
        rows = weight.axes[0].labels
        parts = [rows[start : start + width] for start in range(0, len(rows), width)]
        state.balance([x.axes[-1].labels, *parts], "nn.MultiheadAttention is as wide inside as what it reads")
    made = produce(state, weight, 0, 1, bias)
    sources = [x, weight] if bias is None else [x, weight, bias]
    state.cost(prod(x.shape) * len(made), x.axes[-1], made)
    return value_of([*passed(x.axes[:-1], bias is None), made], sources)


def passed(axes: Sequence[Axis], homogeneous: bool) -> list[Axis]:
    """Axes that a sum over another one leaves alone: 0 stays 0 where no bias is added."""
    return [axis.holds(np.where((axis.at == 0) & homogeneous, 0.0, np.nan)) for axis in axes]


def mark(state: Walk, weight: Value, axis: int) -> None:
    """Masking leaves this axis of a weight alone: it belongs to the one who reads the channels."""
    if weight.tensor:
        state.weighted.add((weight.tensor, axis))


def matmul(state: Walk, a: Value, b: Value) -> Result:
    """Matrices, or stacks of them."""
    letters = "abcdefghijklmnop"
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul of a scalar")
    left = letters[: max(a.ndim - 2, 0)] + ("xy" if a.ndim > 1 else "y")
    right = letters[: max(b.ndim - 2, 0)] + ("yz" if b.ndim > 1 else "y")
    deep = max(a.ndim, b.ndim) - 2
    if a.ndim > 2 and a.ndim - 2 < deep:
        left = letters[deep - (a.ndim - 2) : deep] + "xy"
    if b.ndim > 2 and b.ndim - 2 < deep:
        right = letters[deep - (b.ndim - 2) : deep] + "yz"
    out = letters[: max(deep, 0)] + ("x" if a.ndim > 1 else "") + ("z" if b.ndim > 1 else "")
    return contracted(state, [left, right], out, [a, b])


def contracted(state: Walk, terms: list[str], out: str, values: list[Value]) -> Result:
    """A sum of products. A letter of size 1 beside a larger one is broadcast."""
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        for letter, axis in zip(term, value.axes, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), len(axis))
    made: dict[str, Axis] = {}
    for letter, size in sizes.items():
        parts = [
            axis
            for term, value in zip(terms, values, strict=True)
            for each, axis in zip(term, value.axes, strict=True)
            if each == letter and len(axis) == size
        ]
        for part in parts[1:]:
            state.join(parts[0], part, "multiplies by something that cannot shrink")
        labels = np.where(parts[0].labels == 0, 0, np.maximum.reduce([part.labels for part in parts]))
        zero = np.logical_or.reduce([part.at == 0 for part in parts])
        if letter not in out:
            first = state.node.all_input_nodes[0]
            state.summed[state.node] = (first, labels)
            zero = zeros_summed(terms, values, letter, size)
            state.pin(labels[~zero], "a removed index would add something that is not 0")
        made[letter] = Axis(labels, np.where(zero, 0.0, np.nan))
    for term, value in zip(terms, values, strict=True):
        if value.made_of is None or len(terms) < 2:
            continue
        for position, letter in enumerate(term):
            if letter in out:
                state.zero(value, position)
                argument = next((n for n in state.node.all_input_nodes if state.values[n] is value), None)
                if argument is not None and value.axes[position].free:
                    state.producers.append(Producer(state.node, argument, position, value.axes[position].labels))
            else:
                mark(state, value, position)
    if len(terms) > 1:
        state.cost(prod(sizes.values()), *made.values())
    return value_of([made[letter] for letter in out], values)


def zeros_summed(terms: list[str], values: list[Value], letter: str, size: int) -> NDArray[np.bool_]:
    """Where an index that is summed over adds nothing once removed. Weights do not count: masking leaves those of
    whoever reads the channels alone."""
    zero = np.zeros(size, dtype=bool)
    for term, value in zip(terms, values, strict=True):
        for each, axis in zip(term, value.axes, strict=True):
            if each == letter and len(axis) == size and value.made_of is None:
                zero |= axis.at == 0
    return zero


def einsum(state: Walk, equation: str, operands: list[Value], *args: Any, **kwargs: Any) -> Result:
    """torch.einsum; an ellipsis is written out first."""
    equation = equation.replace(" ", "")
    before, _, after = equation.partition("->")
    terms = before.split(",")
    spare = [c for c in "ABCDEFGHIJ" if c not in equation]
    if "..." in equation:
        most = max(v.ndim - len(t.replace("...", "")) for t, v in zip(terms, operands, strict=True) if "..." in t)
        names = "".join(spare[:most])
        filled = []
        for term, value in zip(terms, operands, strict=True):
            need = value.ndim - len(term.replace("...", ""))
            filled.append(term.replace("...", names[most - need :] if need else ""))
        terms, after = filled, after.replace("...", names)
    if "->" not in equation:
        joined = "".join(terms)
        after = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if any(len(set(term)) != len(term) for term in terms):
        raise ValueError("einsum of a diagonal")
    return contracted(state, terms, after, operands)


def addmm(state: Walk, bias: Value, a: Value, b: Value, **kwargs: Any) -> Result:
    """bias + a b, with a bias for each column or for each number."""
    if kwargs:
        raise ValueError("addmm with factors")
    product = matmul(state, a, b)
    assert isinstance(product, Value)
    state.join(product.axes[-1], bias.axes[-1], "adds a bias that cannot shrink")
    for position in range(bias.ndim):
        state.zero(bias, position)
    last = product.axes[-1] if bias.made_of is not None else product.axes[-1].holds(np.nan)
    if bias.ndim > 1 and len(bias.axes[0]) > 1:
        state.join(product.axes[0], bias.axes[0], "adds something that cannot shrink")
    return value_of([product.axes[0].holds(np.nan), last], [bias, a, b])


def embedding(state: Walk, weight: Value, indices: Value, *args: Any, **kwargs: Any) -> Result:
    """Rows of a table by number: any row may be asked for."""
    state.pin(weight.axes[0], "any row may be asked for")
    made = produce(state, weight, 1, 0)
    return value_of([*(fixed(n) for n in indices.shape), made], [weight, indices])
