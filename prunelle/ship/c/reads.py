"""What an operation reads, its steps' inputs too."""

from __future__ import annotations

from prunelle.ship.c.ops import (
    ZERO,
    AddMaps,
    Conv,
    Flatten,
    Gate,
    Gather,
    JoinVector,
    Linear,
    MapEach,
    Mean,
    MulMaps,
    Op,
    Pool,
    Softmax,
    Vector,
    VectorEach,
)


def read_maps(op: Op) -> list[int]:
    """The numbers of the channels that an operation reads, its steps' too."""
    found = list(op.x) if isinstance(op, Conv | MapEach | Pool | Mean | Flatten) else []
    for step in getattr(op, "steps", []):
        if isinstance(step, AddMaps | MulMaps):
            found += step.other
    return [channel for channel in found if channel != ZERO]


def read_vectors(op: Op) -> list[Vector]:
    found = [op.x] if isinstance(op, Linear | VectorEach | Softmax) else []
    if isinstance(op, Gather):
        found += [piece[0] for piece in op.pieces]
    for step in getattr(op, "steps", []):
        if isinstance(step, Gate):
            found.append(step.vector)
        if isinstance(step, JoinVector):
            found.append(step.other)
    return found
