"""Windows of 2 x 2 that lie side by side: whole vectors of two rows first, then what of them lies side by side; and the
largest of such windows taken where a convolution's sums still are in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from prunelle.ship.c.fixed_point import Limit, Relu, Rescale
from prunelle.ship.c.layout import Layout
from prunelle.ship.c.memory import channels_read
from prunelle.ship.c.ops import ZERO, Activate, Pool, Program
from prunelle.ship.c.taps import Placed, TapConv

MOST_VECTORS = 16
"""Vectors a result may have for pairs of rows to be written one by one."""


def in_pairs(op: Pool, source: Layout) -> bool:
    """Whether windows lie so, in rows of vectors that lie in pairs."""
    out = op.out.layout
    plain = (*op.kernel, *op.stride, *op.pad) == (2, 2, 2, 2, 0, 0)
    inside = 2 * out.height <= source.height and 2 * out.width <= source.width
    return plain and inside and (all_rows(source, out) or (source.rows % 2 == 0 and out.num_vectors <= MOST_VECTORS))


def all_rows(source: Layout, out: Layout) -> bool:
    """Whether every two rows of vectors make one of the result, so that a loop can run over them."""
    return source.groups == out.groups == 1


def pixel_pair(source: Layout, out: Layout, v: int, side: int, lane: int) -> tuple[int, int] | None:
    """Where the upper left pixel of a window lies: (vector, lane); None where the result has no pixel."""
    y, x = lane // out.span * out.rows + v, side * out.lanes + lane % out.span
    if y >= out.height or x >= out.width:
        return None
    vector, lane = divmod(source.place(2 * y, 2 * x), source.lanes)
    return vector, lane


def pair_lines(
    source: Layout, out: Layout, v: int, upper: Sequence[str], lower: Sequence[str], mean: bool
) -> list[str]:
    """The lines that make a0, a1, ..., row v of the result's vectors. upper, lower: by the number of an upper row's
    vector, the C of it and of the vector below."""
    lines, known = [], set[int]()
    for side in range(out.vecs):
        pixels = [pixel_pair(source, out, v, side, lane) for lane in range(out.lanes)]
        for vector in sorted({place[0] for place in pixels if place} - known):
            both = f"{upper[vector]} + {lower[vector]}" if mean else f"larger({upper[vector]}, {lower[vector]})"
            lines.append(f"const vn m{vector} = {both};")
            known.add(vector)
        left, right = (picked(pixels, step, out.lanes) for step in (0, 1))
        lines.append(f"const vn a{side} = {f'{left} + {right}' if mean else f'larger({left}, {right})'};")
    return lines


def picked(pixels: Sequence[tuple[int, int] | None], step: int, lanes: int) -> str:
    """A vector of one number of each place, `step` lanes on, out of the vectors m0, m1, ..."""
    vectors = list(dict.fromkeys(place[0] for place in pixels if place))
    text = f"m{vectors[0]}"
    for count, vector in enumerate(vectors[1:] or vectors):
        index = []
        for lane, place in enumerate(pixels):
            if place is None:
                index.append(0)
            elif place[0] == vector and len(vectors) > 1:
                index.append(lanes + place[1] + step)
            else:
                index.append(place[1] + step if count == 0 else lane)
        text = f"MOVE({text}, m{vector}, {', '.join(map(str, index))})"
    return text


def largest_of_four(inner: Layout, out: Layout, names: list[str]) -> list[tuple[list[str], list[str]]]:
    """For every row of vectors of the result: lines that make the largest of every 2 x 2 sums, and what holds them.
    names: of the vectors of sums, as many as `unit_of` or a multiple."""
    pairs = len(names) // (2 * inner.vecs) if all_rows(inner, out) else out.rows
    found = []
    for pair in range(pairs):
        start, v = (2 * inner.vecs * pair, 0) if all_rows(inner, out) else (0, pair)
        lines = pair_lines(inner, out, v, names[start:], names[start + inner.vecs :], False)
        found.append((lines, [f"a{side}" for side in range(out.vecs)]))
    return found


def unit_of(source: Layout, out: Layout) -> int:
    """Vectors that must be summed together so that whole windows are."""
    return 2 * source.vecs if all_rows(source, out) else source.num_vectors


def keeps_order(steps: Sequence[object]) -> bool:
    """Whether of two numbers the larger one stays the larger: then the largest can be taken first."""
    return all(
        isinstance(step, Relu | Rescale | Limit) or (isinstance(step, Activate) and step.kind in ("relu", "clamp"))
        for step in steps
    )


def fuse_pools(program: Program, ops: list[Placed], read: set[int], registers: int) -> list[Placed]:
    """Convolutions whose sums are only read by a pool of the largest of 2 x 2: one operation.

    read: channels that somebody reads. registers: vectors to sum in; there must be room for whole windows.
    """
    made: list[Placed] = []
    skipped: set[int] = set()
    for op in ops:
        pool = next((p for p in ops if isinstance(op, TapConv) and isinstance(p, Pool) and follows(op, p)), None)
        if pool is not None and isinstance(op, TapConv) and fits(op, pool, ops, registers):
            skipped.add(id(pool))
            op = pooled(op, pool, read)
        if id(op) not in skipped:
            made.append(op)
    return made


def follows(op: TapConv, pool: Pool) -> bool:
    same = all(n in (op.out.first + i, ZERO) for i, n in enumerate(pool.x)) and len(pool.x) == op.out.count
    return same and any(pool.x)


def fits(op: TapConv, pool: Pool, ops: list[Placed], registers: int) -> bool:
    """Whether the pool is the convolution's only reader and its windows can be taken from its sums."""
    source, out = op.out.layout, pool.out.layout
    own = set(range(op.out.first, op.out.first + op.out.count))
    alone = not any(own & set(channels_read(other)) for other in ops if other is not pool)
    whole = (2 * out.height, 2 * out.width) == (source.height, source.width)
    room = registers // (2 if op.first_column < 0 < op.first_column + op.num_columns - 1 else 1)
    plain = pool.kind == "max" and not pool.steps and in_pairs(pool, source) and keeps_order(op.steps)
    return alone and whole and plain and unit_of(source, out) <= room


def pooled(op: TapConv, pool: Pool, read: set[int]) -> TapConv:
    live = np.array([pool.out.first + c in read for c in op.taps[:, 0]], dtype=bool)
    return replace(op, out=pool.out, inner=op.out.layout, taps=op.taps[live], weights=op.weights[live])
