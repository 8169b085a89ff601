"""Rules for operators that move values without changing them: mostly free, since only channels' numbers move."""

from __future__ import annotations

from math import prod

import numpy as np
from torch import fx

from prunelle.graph.folds import short
from prunelle.graph.trace import module_of, shape_of
from prunelle.ship.c.lowering import Channels, Lowering, Numbers, Value, as_vector, bound, flat, refused, whole
from prunelle.ship.c.ops import ZERO, Gather, Pool, Vector


def same(state: Lowering, node: fx.Node) -> Value:
    made = node.meta.get("val")
    if made is not None and not made.is_floating_point():
        raise refused(node, f"makes {made.dtype}, which has no rule for C; ship it as onnx")
    return state.values[node.args[0]]  # type: ignore[index]


def reshape(state: Lowering, node: fx.Node) -> Value:
    """view, reshape, flatten, squeeze, unsqueeze: free as long as height and width stay side by side."""
    value, shape = state.values[node.args[0]], shape_of(node.meta["val"])  # type: ignore[index]
    if isinstance(value, Numbers):
        return Numbers(value.vector, shape)
    if len(shape) >= 3 and shape[-2:] == (value.height, value.width) and prod(shape[:-2]) == value.refs.size:
        return Channels(value.refs.reshape(shape[:-2]), value.height, value.width)
    return Numbers(as_vector(state, value, module_of(node)), shape)


def permute(state: Lowering, node: fx.Node) -> Value:
    value, ndim = state.values[node.args[0]], len(shape_of(node.meta["val"]))  # type: ignore[index]
    if short(node).startswith("transpose"):
        order = list(range(ndim))
        a, b = (int(i) % ndim for i in bound(node, "dim0", "dim1"))
        order[a], order[b] = order[b], order[a]
    else:
        order = [int(i) % ndim for i in bound(node, "dims")[0]]
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
    vectors = all(isinstance(part, Numbers) and part.shape[0] == 1 for part in parts)
    if vectors and axis % len(parts[0].shape) == 1 and all(p.shape[1] == p.vector.count for p in parts):
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
        elif isinstance(value, Numbers) and axis % len(value.shape) == 1 and value.shape[1] == value.vector.count:
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
    if isinstance(value, Numbers) and axis % len(value.shape) == 1 and value.shape[1] == value.vector.count:
        places = range(value.vector.count)[slice(start, end, step)]
        pieces = [(value.vector, places.start, len(places))] if step in (None, 1) else []
        kept = Gather(module_of(node), pieces or [(value.vector, i, 1) for i in places], Vector(len(places)))
        state.ops.append(kept)
        return Numbers(kept.out, shape_of(node.meta["val"]))
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
