"""The C of pooling: the largest or the mean of a window, all windows of a row of vectors at once."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.conv import masks
from prunelle.ship.c.layout import Layout
from prunelle.ship.c.maps import live_of, table_call, write_each
from prunelle.ship.c.ops import ZERO, MapEach, Pool
from prunelle.ship.c.rows import Rows, blank, columns_mask, mask_table
from prunelle.ship.c.steps import write_map_steps
from prunelle.ship.c.writer import FP32, Writer


def write_pool(writer: Writer, op: Pool, read: set[int]) -> str:
    """Largest or mean of a window."""
    live, out = live_of(op.out, read), op.out.layout
    number = next((n for n in op.x if n != ZERO), None)
    if number is None:
        return write_each(writer, MapEach(op.name, op.x, op.out, op.steps), read)
    source = writer.program.owner(number).layout
    made = write_map_steps(writer, op.steps, live)
    name = f"pool_{op.kind}_{source.height}x{source.width}_{out.height}x{out.width}_{op.kernel[0]}_{op.kernel[1]}"
    name += f"_{op.stride[0]}_{op.stride[1]}_{op.pad[0]}_{op.pad[1]}_{int(op.count_pad)}{made.name}"
    factor, setup = mean_factor(writer, op, source), "\n    ".join(made.setup)
    tail = "" if out.full else f"r = keep(r, ((const vm *){masks(writer, out)})[at]);"
    steps = " ".join(line.replace(" + @i", "") for line in made.lines)
    text = [
        f"static void {name}(vn *ws, const map_table *t) {{",
        "  for (int32_t o = 0; o < t->channels; o++) {",
        "    const int32_t in = t->in[o];",
        "    const number *from = (const number *)(ws + (in < 0 ? 0 : in));",
        "    vn *out = ws + t->out[o];",
        f"    {setup}",
    ]
    for start, lines in pair_rows(writer, op, source) or [("v", window(writer, op, Rows(source, out, op.stride)))]:
        text.append(f"    for (int32_t v = 0; v < {out.rows}; v++) {{" if start == "v" else "    {")
        text += ["      " + line for line in lines]
        for side in range(out.vecs):
            text.append(f"      {{ const int32_t at = {start} * {out.vecs} + {side};")
            text.append(f"        vn r = in < 0 ? (vn){{0}} : a{side}; {factor} {steps} {tail} out[at] = r; }}")
        text.append("    }")
    writer.function(name, "\n".join([*text, "  }", "}", ""]))
    return table_call(writer, name, op, live, made)


MOST_VECTORS = 16
"""Vectors a result may have for pairs of rows to be written one by one."""


def pair_rows(writer: Writer, op: Pool, source: Layout) -> list[tuple[str, list[str]]]:
    """Windows of 2 x 2 that lie side by side: whole vectors of two rows first, then what of them lies side by side.

    Gives, for every row of vectors of the result, its number in C ("v" for all of them in a loop) and the lines that
    fill a0, a1, ...; an empty list where windows lie otherwise.
    """
    out, mean = op.out.layout, op.kind == "mean"
    plain = (*op.kernel, *op.stride, *op.pad) == (2, 2, 2, 2, 0, 0) and not (mean and writer.numbers is not FP32)
    inside = 2 * out.height <= source.height and 2 * out.width <= source.width
    loop = source.groups == out.groups == 1
    if not (plain and inside and (loop or (source.rows % 2 == 0 and out.num_vectors <= MOST_VECTORS))):
        return []
    found = []
    for v in range(1 if loop else out.rows):
        lines = ["const vn *p = (const vn *)from" + (f" + v * {2 * source.vecs};" if loop else ";")]
        known: dict[int, str] = {}
        for side in range(out.vecs):
            pixels = [pixel_pair(source, out, v, side, lane) for lane in range(out.lanes)]
            for vector in dict.fromkeys(place[0] for place in pixels if place):
                if vector not in known:
                    known[vector] = f"m{vector}"
                    both = f"p[{vector}], p[{vector + source.vecs}]"
                    sums = f"p[{vector}] + p[{vector + source.vecs}]"
                    lines.append(f"const vn m{vector} = {sums if mean else f'larger({both})'};")
            left, right = (picked(pixels, step, out.lanes) for step in (0, 1))
            lines.append(f"const vn a{side} = {f'{left} + {right}' if mean else f'larger({left}, {right})'};")
        found.append(("v" if loop else str(v), lines))
    return found


def pixel_pair(source: Layout, out: Layout, v: int, side: int, lane: int) -> tuple[int, int] | None:
    """Where the upper left pixel of a window lies: (vector, lane); None where the result has no pixel."""
    y, x = lane // out.span * out.rows + v, side * out.lanes + lane % out.span
    if y >= out.height or x >= out.width:
        return None
    return divmod(source.place(2 * y, 2 * x), source.lanes)


def picked(pixels: list[tuple[int, int] | None], step: int, lanes: int) -> str:
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


def window(writer: Writer, op: Pool, rows: Rows) -> list[str]:
    """The lines that bring all pixels of a window together in a0, a1, ..."""
    out = rows.out
    low = -32768 if writer.numbers is not FP32 else float(np.finfo(np.float32).min)
    empty = blank(writer, rows.reach + op.kernel[1], low if op.kind == "max" else 0, op.pad[1])
    lines = [f"vn {', '.join(f'a{side}' for side in range(out.vecs))};"]
    shared = writer.numbers is not FP32 and op.kind == "mean" and op.kernel != (1, 1)
    share = writer.values([32768 / (op.kernel[0] * op.kernel[1])]) if shared else ""
    for ky in range(op.kernel[0]):
        lines.append("{")
        lines += rows.pointers(f"@ * {op.stride[0]} + {ky - op.pad[0]}", empty)
        for kx in range(op.kernel[1]):
            flags = columns_mask(rows.source, out, op.stride[1], kx - op.pad[1])
            for side in range(out.vecs):
                read = rows.vector(side, str(kx - op.pad[1]))
                if not flags[side].all():
                    table = f"((const vm *){mask_table(writer, flags[side])})[0]"
                    lowest = f"either({read}, spread_number(LOWEST), {table})"
                    read = lowest if op.kind == "max" else f"keep({read}, {table})"
                if share:
                    read = f"times({read}, spread({share}[0]))"
                if ky == kx == 0:
                    lines.append(f"a{side} = {read};")
                elif op.kind == "max":
                    lines.append(f"{{ const vn x = {read}; a{side} = larger(a{side}, x); }}")
                else:
                    lines.append(f"a{side} += {read};")
        lines.append("}")
    return lines


def mean_factor(writer: Writer, op: Pool, source: Layout) -> str:
    """What a sum is multiplied with: one over the pixels of the window, or those of them that lie inside."""
    if op.kind != "mean" or writer.numbers is not FP32:
        return ""
    out, counts = op.out.layout, op.counts(source.height, source.width)
    if (counts == counts[0, 0]).all():
        return f"r = r * {1 / int(counts[0, 0])!r}f;"
    factors = np.zeros(out.num_vectors * out.lanes, dtype=np.float32)
    for y in range(out.height):
        for x in range(out.width):
            factors[out.place(y, x)] = 1 / counts[y, x]
    return f"r = r * ((const vn *){writer.floats(factors)})[at];"
