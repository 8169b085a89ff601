"""Operators that rename axes: views, transposes, repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prunelle.graph.rules.pointwise import unknown
from prunelle.graph.value import Axis, Value, agree, fixed, value_of
from prunelle.graph.walk import Result, Walk, shape_of


def reshape(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """view, reshape, flatten, unflatten, squeeze, unsqueeze, reshape_as: only the two shapes count."""
    shape = shape_of(state.node.meta["val"])
    axes: list[Axis] = []
    for place, (before, after) in enumerate(matched(x.shape, shape)):
        sources = [x.axes[i] for i in before]
        sizes = [shape[i] for i in after]
        wide = [axis for axis in sources if len(axis) > 1]
        if [len(axis) for axis in wide] == [n for n in sizes if n > 1]:
            left = iter(wide)
            axes += [next(left) if n > 1 else fixed(1) for n in sizes]
        else:
            axes += split(state, merged(state, sources), sizes, place)
    if x.free:
        state.sized.append((state.node, x))
    return value_of(axes, [x])


def matched(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of axes with equal products: (axes before, axes after)."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left: list[int] = []
        right: list[int] = []
        a = b = 1
        while True:
            if i < len(before) and (a < b or (not left and (a == b))):
                a *= before[i]
                left.append(i)
                i += 1
            elif j < len(after) and (b < a or not right):
                b *= after[j]
                right.append(j)
                j += 1
            elif i < len(before) and (a < b or not right):
                a *= before[i]
                left.append(i)
                i += 1
            else:
                break
        while i < len(before) and before[i] == 1 and (j >= len(after) or after[j] != 1):
            left.append(i)
            i += 1
        while j < len(after) and after[j] == 1 and (i >= len(before) or before[i] != 1):
            right.append(j)
            j += 1
        runs.append((left, right))
    return runs


def merged(state: Walk, sources: Sequence[Axis]) -> Axis:
    """Several axes read as one, the last running fastest. Of two that could shrink the last one may."""
    if not sources:
        return fixed(1)
    result = sources[0]
    for axis in sources[1:]:
        if result.free and axis.free:
            state.pin(result, "is merged with another axis that could shrink")
        if axis.free:
            result = axis.take(np.tile(np.arange(len(axis)), len(result)))
        elif result.free:
            result = result.take(np.repeat(np.arange(len(result)), len(axis)))
        else:
            result = fixed(len(result) * len(axis))
    return result


def split(state: Walk, source: Axis, sizes: Sequence[int], place: int) -> list[Axis]:
    """One axis read as several. Labels that already depend on one of them alone go there; otherwise one of them is
    chosen to shrink, the last unless that is known to be of no use, and its index goes everywhere at once."""
    if not source.free or not sizes:
        return [fixed(n) for n in sizes]
    wide = [i for i, n in enumerate(sizes) if n > 1]
    labels, at = source.labels.reshape(sizes), source.at.reshape(sizes)
    for candidate in wide:
        others = tuple(i for i in range(len(sizes)) if i != candidate)
        if (labels == labels.min(axis=others, keepdims=True)).all():
            return factor(labels, at, sizes, candidate)
    order = wide[::-1]
    option = state.choose(place, len(order))
    free = order[option]
    lead = np.moveaxis(labels, free, 0).reshape(sizes[free], -1)
    for column in range(1, lead.shape[1]):
        state.join(lead[:, 0], lead[:, column], "reads one axis as several, of which one may shrink")
    state.note(place, lead[:, 0], len(order))
    state.balance(list(lead.T), "reads one axis as several")
    return factor(labels, at, sizes, free)


def factor(labels: np.ndarray, at: np.ndarray, sizes: Sequence[int], which: int) -> list[Axis]:
    """Fixed axes but for one, which has the labels."""
    lead = np.moveaxis(labels, which, 0).reshape(sizes[which], -1)
    values = np.moveaxis(at, which, 0).reshape(sizes[which], -1)
    made = Axis(np.where((lead == 0).any(1), 0, lead[:, 0]), agree(list(values.T)))
    return [made if i == which else fixed(n) for i, n in enumerate(sizes)]


def permute(state: Walk, x: Value, dims: Sequence[int]) -> Result:
    return value_of([x.axes[d] for d in dims], [x])


def transpose(state: Walk, x: Value, first: int = 0, second: int = 1) -> Result:
    axes = list(x.axes)
    if len(axes) > 1:
        axes[first], axes[second] = axes[second], axes[first]
    return value_of(axes, [x])


def reversed_axes(state: Walk, x: Value) -> Result:
    return value_of([*x.axes[:-2], x.axes[-1], x.axes[-2]] if x.ndim > 1 else x.axes, [x])


def all_reversed(state: Walk, x: Value) -> Result:
    return value_of(x.axes[::-1], [x])


def movedim(state: Walk, x: Value, source: Any, target: Any) -> Result:
    sources = [s % x.ndim for s in np.atleast_1d(source).tolist()]
    targets = [t % x.ndim for t in np.atleast_1d(target).tolist()]
    left = iter(i for i in range(x.ndim) if i not in sources)
    places = dict(zip(targets, sources, strict=True))
    return value_of([x.axes[places[i] if i in places else next(left)] for i in range(x.ndim)], [x])


def unsqueeze(state: Walk, x: Value, dim: int) -> Result:
    axes = list(x.axes)
    axes.insert(dim % (x.ndim + 1), fixed(1))
    return value_of(axes, [x])


def expand(state: Walk, x: Value, *args: Any, **kwargs: Any) -> Result:
    """Axes of size 1 become wider, new ones come in front."""
    shape = shape_of(state.node.meta["val"])
    axes = [fixed(n) for n in shape[: len(shape) - x.ndim]]
    axes += [axis if len(axis) == n else fixed(n) for axis, n in zip(x.axes, shape[len(axes) :], strict=True)]
    if x.free:
        state.sized.append((state.node, x))
    return value_of(axes, [x])


def repeat(state: Walk, x: Value, counts: Sequence[int]) -> Result:
    """The whole tensor so many times over along each axis."""
    new = max(len(counts) - x.ndim, 0)
    counts = [1] * (x.ndim - len(counts)) + list(counts)
    axes = [fixed(n) for n in counts[:new]]
    axes += [axis.take(np.tile(np.arange(len(axis)), n)) for axis, n in zip(x.axes, counts[new:], strict=True)]
    return value_of(axes, [x])


def repeat_interleave(state: Walk, x: Value, times: int, dim: int | None = None, **kwargs: Any) -> Result:
    if dim is None or not isinstance(times, int):
        return unknown(state, x)
    axis = x.axes[dim]
    return value_of(x.with_axis(dim % x.ndim, axis.take(np.repeat(np.arange(len(axis)), times))).axes, [x])
