"""The C of strided depthwise convolutions: every weight's pixels are read where they lie, two loads and one move each.

Copying them first, as other strided convolutions do, costs more than it saves where each copy is read once.
"""

from __future__ import annotations

from prunelle.ship.c.conv import masks
from prunelle.ship.c.maps import live_of
from prunelle.ship.c.rows import Rows, blank, columns_mask, mask_table
from prunelle.ship.c.steps import struct, write_map_steps
from prunelle.ship.c.taps import Windows
from prunelle.ship.c.writer import Writer


def write_windows(writer: Writer, op: Windows, read: set[int]) -> str:
    """All channels that somebody reads."""
    live, out = live_of(op.out, read), op.out.layout
    number = op.x[0]
    rows = Rows(writer.program.owner(number).layout, out, op.stride)
    made = write_map_steps(writer, op.steps, live)
    height, width = op.weight.shape[1:]
    name = f"windows_{rows.source.height}x{rows.source.width}_{out.height}x{out.width}_{height}_{width}"
    name += f"_{op.stride[0]}_{op.stride[1]}_{op.pad[0]}_{op.pad[1]}{made.name}"
    tail = "" if out.full else f"r = keep(r, ((const vm *){masks(writer, out)})[at]);"
    steps = " ".join(line.replace(" + @i", "") for line in made.lines)
    text = [
        f"static void {name}(vn *ws, const map_table *t, const float *weight, const float *biases) {{",
        f"  for (int32_t o = 0; o < t->channels; o++, weight += {height * width}) {{",
        "    const int32_t in = t->in[o];",
        "    const number *from = (const number *)(ws + (in < 0 ? 0 : in));",
        "    vn *out = ws + t->out[o];",
        "    const float bias = biases[o];",
        "    " + "\n    ".join(made.setup),
        f"    for (int32_t v = 0; v < {out.rows}; v++) {{",
        f"      vn {', '.join(f'a{side} = {{0}}' for side in range(out.vecs))};",
        "      if (in >= 0) {",
        *("        " + line for line in sums(writer, op, rows)),
        "      }",
    ]
    for side in range(out.vecs):
        text.append(f"      {{ const int32_t at = v * {out.vecs} + {side}; vn r = a{side} + bias;")
        text.append(f"        {steps} {tail} out[at] = r; }}")
    writer.function(name, "\n".join([*text, "    }", "  }", "}", ""]))
    # Where a kernel is zero throughout, nobody may have computed its channel.
    places = [writer.place(op.x[c]) if op.weight[c].any() else -1 for c in live]
    fields = f"{writer.ints(places)}, {writer.ints(writer.place(op.out.first + c) for c in live)}, {len(live)}"
    tables = f"{writer.floats(op.weight[live])}, {writer.floats(op.bias[live])}"
    return f"static const map_table t = {{{fields}, {struct(made)}}};\n{name}(ws, &t, {tables});"


def sums(writer: Writer, op: Windows, rows: Rows) -> list[str]:
    """The lines that bring one row's weights together in a0, a1, ..."""
    height, width = op.weight.shape[1:]
    empty, lines = blank(writer, rows.reach + width, 0, op.pad[1]), []
    for ky in range(height):
        lines += ["{", *rows.pointers(f"@ * {op.stride[0]} + {ky - op.pad[0]}", empty)]
        paired = rows.stride[1] == 2 and rows.out.groups == 1
        lines += halves(rows) if paired else []
        for kx in range(width):
            flags = columns_mask(rows.source, rows.out, op.stride[1], kx - op.pad[1])
            for side in range(rows.out.vecs):
                dx = kx - op.pad[1]
                value = half(rows, side, dx) if paired and -2 <= dx <= 3 else rows.vector(side, str(dx))
                if not flags[side].all():
                    value = f"keep({value}, ((const vm *){mask_table(writer, flags[side])})[0])"
                lines.append(f"a{side} += weight[{ky * width + kx}] * {value};")
        lines.append("}")
    return lines


def halves(rows: Rows) -> list[str]:
    """A row as its even columns e0, e1, ... and its odd ones o0, o1, ...: two aligned loads serve every column."""
    lanes, lines = rows.out.lanes, []
    even, odd = (", ".join(str(2 * lane + first) for lane in range(lanes)) for first in (0, 1))
    for side in range(rows.out.vecs):
        at = f"s0 + {2 * side * lanes}"
        lines.append(f"const vn p{side} = load({at}), q{side} = load({at} + {lanes});")
        lines.append(f"const vn e{side} UNUSED = MOVE(p{side}, q{side}, {even});")
        lines.append(f"const vn o{side} UNUSED = MOVE(p{side}, q{side}, {odd});")
    return lines


def half(rows: Rows, side: int, dx: int) -> str:
    """The pixels `dx` columns off every second one: even or odd ones, moved by a lane where they lie one pair off."""
    lanes, last = rows.out.lanes, rows.out.vecs - 1
    pairs, odd = divmod(dx, 2)
    name = "o" if odd else "e"
    if pairs == 0:
        return f"{name}{side}"
    if pairs < 0:
        before = f"{name}{side - 1}" if side else "(vn){0}"
        return f"MOVE({before}, {name}{side}, {', '.join(str(lanes - 1 + lane) for lane in range(lanes))})"
    after = f"{name}{side + 1}" if side < last else "(vn){0}"
    return f"MOVE({name}{side}, {after}, {', '.join(str(1 + lane) for lane in range(lanes))})"
