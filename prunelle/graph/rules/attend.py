"""Attention as one operator."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from torch import fx

from prunelle.graph.value import Axis, Value, fixed, value_of
from prunelle.graph.walk import Result, Walk


def attention(
    state: Walk,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **kwargs: Any,
) -> Result:
    """softmax(q k' / sqrt(d)) v with (..., tokens, d). Without a scale of its own, d sets it: q takes that back."""
    for axis in (q.axes[-2], k.axes[-2], v.axes[-2]):
        state.pin(axis, "attends over this axis")
    state.join(q.axes[-1], k.axes[-1], "compares queries and keys")
    dims = np.where(q.axes[-1].labels == 0, 0, np.maximum(q.axes[-1].labels, k.axes[-1].labels))
    state.pin(dims[~((q.axes[-1].at == 0) | (k.axes[-1].at == 0))], "a removed index would add to what is compared")
    if scale is None and (dims != 0).any():
        source = state.node.args[0]
        assert isinstance(source, fx.Node)
        state.scaled_by_size.append((state.node, source, dims, 1))
    stacked = [value for value in (v, q, k) if value.ndim == v.ndim]
    front = []
    for position in range(v.ndim - 2):
        size = max(len(value.axes[position]) for value in stacked)
        parts = [value.axes[position] for value in stacked if len(value.axes[position]) == size]
        for part in parts[1:]:
            state.join(parts[0], part, "stacks heads")
        if any(len(value.axes[position]) != size for value in stacked):
            for value in stacked:
                state.pin(value.axes[position], "shares keys among heads")
        labels = np.where(parts[0].labels == 0, 0, np.maximum.reduce([part.labels for part in parts]))
        front.append(Axis(labels, np.where(v.axes[position].at == 0, 0.0, np.nan)) if size > 1 else fixed(1))
    if mask is not None:
        for back in range(1, mask.ndim + 1):
            axis = mask.axes[-back]
            if len(axis) == 1 or not (axis.free or back > 2):
                continue
            if back <= 2:
                state.pin(axis, "attends over this axis")
            else:
                state.join(axis, front[-(back - 2)], "masks heads")
        if mask.tensor:
            for position in range(mask.ndim):
                state.zero(mask, position)
    pairs = prod(q.shape[:-1]) * len(k.axes[-2])
    state.cost(pairs * len(q.axes[-1]), *front, dims)
    state.cost(pairs * len(v.axes[-1]), *front, v.axes[-1])
    out = v.axes[-1].holds(np.where(v.axes[-1].at == 0, 0.0, np.nan))
    return value_of([*front, fixed(len(q.axes[-2])), out], [q, k, v])
