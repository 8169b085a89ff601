"""Linear layers without units that no weight reads, or that give the same number whatever the image.

Unstructured zeros leave such units behind; a dense row, a column list and a vector all get shorter without them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prunelle.ship.c.ops import Activate, Flatten, Linear, Op, Vector
from prunelle.ship.c.reads import read_vectors

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "sigmoid": torch.sigmoid, "silu": F.silu, "tanh": torch.tanh, "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}  # fmt: skip


def shrink_linears(ops: list[Op], output: Vector) -> list[Op]:
    """In place: each linear layer that one linear layer alone reads loses its needless units, from the last to the
    first, so that what one loses its maker can lose too."""
    for op in reversed(ops):
        if isinstance(op, Linear):
            readers = [other for other in ops if op.out in read_vectors(other)]
            if op.out is not output and len(readers) == 1 and isinstance(readers[0], Linear) and readers[0].x is op.out:
                shrink_(op, readers[0])
    return ops


def shrink_flattens(ops: list[Op], output: Vector) -> list[Op]:
    """In place: a linear layer that alone reads flattened maps no longer gets those of which it reads no pixel."""
    for op in ops:
        if isinstance(op, Linear):
            maker = next((other for other in ops if isinstance(other, Flatten) and other.out is op.x), None)
            readers = sum(op.x in read_vectors(other) for other in ops)
            if maker is not None and op.x is not output and readers == 1:
                drop_maps_(maker, op)
    return ops


def drop_maps_(op: Flatten, reader: Linear) -> None:
    pixels = op.out.count // len(op.x)
    kept = (reader.weight != 0).any(axis=0).reshape(len(op.x), pixels).any(axis=1)
    if kept.all() or not kept.any():
        return
    op.x = [channel for channel, stays in zip(op.x, kept, strict=True) if stays]
    op.out.count = len(op.x) * pixels
    reader.weight = np.ascontiguousarray(reader.weight[:, np.repeat(kept, pixels)])


def shrink_(op: Linear, reader: Linear) -> None:
    """Units of `op` that stay the same go into the reader's bias; those that it does not read go."""
    if not all(isinstance(step, Activate) and step.kind in {*ACTIVATIONS, "clamp", "leaky"} for step in op.steps):
        return
    constant = ~op.weight.any(axis=1)
    kept = ~constant & reader.weight.any(axis=0)
    if kept.all() or not kept.any():
        return
    value = activated(op, torch.from_numpy(op.bias)).numpy()
    reader.bias = reader.bias + reader.weight[:, constant] @ value[constant]
    reader.weight = np.ascontiguousarray(reader.weight[:, kept])
    op.weight, op.bias = np.ascontiguousarray(op.weight[kept]), op.bias[kept]
    op.out.count = int(kept.sum())


def activated(op: Linear, x: Tensor) -> Tensor:
    for step in op.steps:
        assert isinstance(step, Activate)
        if step.kind == "clamp":
            x = x.clamp(step.low, step.high)
        elif step.kind == "leaky":
            x = F.leaky_relu(x, step.low)
        else:
            x = ACTIVATIONS[step.kind](x)
    return x
