"""The C of pooling: the largest or the mean of a window, all windows of a row of vectors at once."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.conv import masks
from prunelle.ship.c.layout import Layout
from prunelle.ship.c.maps import live_of, table_call, write_each
from prunelle.ship.c.ops import ZERO, MapEach, Pool
from prunelle.ship.c.pairs import all_rows, in_pairs, pair_lines
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


def pair_rows(writer: Writer, op: Pool, source: Layout) -> list[tuple[str, list[str]]]:
    """For every row of vectors of the result, its number in C ("v" for all of them in a loop) and the lines that fill
    a0, a1, ... from pairs of rows; an empty list where windows lie otherwise."""
    mean, out = op.kind == "mean", op.out.layout
    if not in_pairs(op, source) or (mean and writer.numbers is not FP32):
        return []
    loop, found = all_rows(source, out), []
    for v in range(1 if loop else out.rows):
        lines = ["const vn *p = (const vn *)from" + (f" + v * {2 * source.vecs};" if loop else ";")]
        upper, lower = ([f"p[{i + more}]" for i in range(source.num_vectors)] for more in (0, source.vecs))
        found.append(("v" if loop else str(v), lines + pair_lines(source, out, v, upper, lower, mean)))
    return found


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
