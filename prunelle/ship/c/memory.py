"""Where every buffer lies in one workspace: lifetimes known, so no allocation when the network runs."""

from __future__ import annotations

from prunelle.ship.c.fixed_point import AddScaled
from prunelle.ship.c.ops import ZERO, Maps, Pool, Program, Vector
from prunelle.ship.c.reads import read_maps, read_vectors
from prunelle.ship.c.taps import Expand, Placed, TapConv, Windows

SLACK = 4
"""Vectors before the first and behind the last buffer: unaligned loads may touch them, what they hold is masked."""


def slack_of(ops: list[Placed], lane_bytes: int) -> int:
    """SLACK, and as many vectors as the farthest column that a copy or a pool looks at beyond an edge takes."""
    sides = [abs(copy.column) for op in ops if isinstance(op, Expand) for copy in op.copies]
    sides += [op.pad[1] for op in ops if isinstance(op, Pool)]
    return SLACK + -(-max(sides, default=0) * 4 // lane_bytes)


def place_buffers_(program: Program, ops: list[Placed], lane_bytes: int) -> int:
    """Give every buffer its offset; returns the size of the workspace in vectors.

    lane_bytes: bytes of one vector. Largest first, each at the lowest place that is free while it is needed.
    """
    spans = lifetimes(program, ops)
    slack = slack_of(ops, lane_bytes)
    placed: list[tuple[int, int, int, int]] = []
    for buffer, (begin, end) in sorted(spans.items(), key=lambda item: -size_of(item[0], lane_bytes)):
        size, at = size_of(buffer, lane_bytes), slack
        for other_at, other_size, other_begin, other_end in sorted(placed):
            if other_begin <= end and begin <= other_end and other_at < at + size:
                at = max(at, other_at + other_size)
        placed.append((at, size, begin, end))
        above = buffer.above * buffer.layout.vecs if isinstance(buffer, Maps) else 0
        buffer.offset = at + above
    return max((at + size for at, size, _, _ in placed), default=slack) + slack


def size_of(buffer: Maps | Vector, lane_bytes: int) -> int:
    """In vectors. A vector of floats is filled up to two whole vectors: as many as one of int16 sums has."""
    return buffer.stride * buffer.count if isinstance(buffer, Maps) else -(-buffer.count * 4 // (2 * lane_bytes)) * 2


def lifetimes(program: Program, ops: list[Placed]) -> dict[Maps | Vector, tuple[int, int]]:
    """First and last operation that needs each buffer."""
    spans: dict[Maps | Vector, tuple[int, int]] = {}
    owners = {n: m for m in program.maps for n in range(m.first, m.first + m.count)}
    for index, op in enumerate(ops):
        for buffer in {op.out, *(owners[n] for n in channels_read(op)), *vectors_read(op)}:
            spans[buffer] = (spans.get(buffer, (index, index))[0], index)
    spans[program.output] = (spans[program.output][0], len(ops))
    return spans


def channels_read(op: Placed) -> list[int]:
    if isinstance(op, Expand):
        return [copy.channel for copy in op.copies]
    found = read_maps(op)  # type: ignore[arg-type]
    found += [n for step in getattr(op, "steps", []) if isinstance(step, AddScaled) for n in step.other if n != ZERO]
    if isinstance(op, Windows):
        return [*found, *op.x]
    return [*found, *op.channels] if isinstance(op, TapConv) else found


def vectors_read(op: Placed) -> list[Vector]:
    return [] if isinstance(op, Expand) else read_vectors(op)  # type: ignore[arg-type]
