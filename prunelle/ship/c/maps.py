"""The C of what happens to maps beside convolutions: loading, copying, pooling, steps, means, flattening."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.conv import masks
from prunelle.ship.c.layout import Layout
from prunelle.ship.c.ops import ZERO, Flatten, Load, MapEach, Maps, Mean, Pool
from prunelle.ship.c.steps import write_map_steps
from prunelle.ship.c.taps import Expand
from prunelle.ship.c.writer import FP32, Writer


def halo(writer: Writer, out: Maps, read: set[int]) -> str:
    """Fill the rows above and below the channels that somebody reads; '' where nobody looks there."""
    layout, live = out.layout, [c for c in range(out.first, out.first + out.count) if c in read]
    if not (out.above or out.below) or not live:
        return ""
    lines = []
    for row in [*range(-out.above, 0), *range(layout.rows, layout.rows + out.below)]:
        groups, source = divmod(row, layout.rows)
        for side in range(layout.vecs):
            to, at = row * layout.vecs + side, source * layout.vecs + side
            lines.append(f"    p[{to}] = {turned('p', at, -groups, layout)};")
    name = f"halo_{layout.height}x{layout.width}_{out.above}_{out.below}"
    text = [
        f"static void {name}(vn *ws, const int32_t *out, int32_t channels) {{",
        "  for (; channels > 0; channels--) {", "    vn *p = ws + *out++;", *lines, "  }", "}", "",
    ]  # fmt: skip
    writer.function(name, "\n".join(text))
    return f"{name}(ws, {writer.ints(writer.place(c) for c in live)}, {len(live)});"


def turned(name: str, at: int, groups: int, layout: Layout) -> str:
    """A vector moved up by so many groups of lanes, zeros moved in; a map that fills its vectors has none to move."""
    if abs(groups) >= layout.groups:
        return "(vn){0}"
    shift = groups * layout.span
    index = [layout.lanes + lane - shift if 0 <= lane - shift < layout.lanes else 0 for lane in range(layout.lanes)]
    return f"MOVE((vn){{0}}, {name}[{at}], {', '.join(map(str, index))})"


def write_load(writer: Writer, op: Load, scale: float | None = None) -> str:
    """The image into its buffer. scale: what int16 pixels count, None for floats."""
    layout = op.out.layout
    name = f"load_{layout.height}x{layout.width}"
    store = "p[x] = row[x];"
    if writer.numbers is not FP32:
        store = "p[x] = to_number(row[x], scale);"
    writer.function(
        name,
        f"""\
static void {name}(vn *ws, const float *image, int32_t out, int32_t stride, int32_t channels, float scale) {{
  (void)scale;
  for (int32_t c = 0; c < channels; c++) {{
    memset(ws + out + c * stride, 0, {layout.num_vectors} * sizeof(vn));
    for (int32_t y = 0; y < {layout.height}; y++, image += {layout.width}) {{
      const float *row = image;
      number *p = (number *)(ws + out + c * stride) + (y % {layout.rows}) * {layout.vecs * layout.lanes}
                  + (y / {layout.rows}) * {layout.span};
      for (int32_t x = 0; x < {layout.width}; x++) {store}
    }}
  }}
}}
""",
    )
    factor = "1.f" if scale is None else f"{1 / scale!r}f"
    return f"{name}(ws, in, {op.out.offset}, {op.out.stride}, {op.out.count}, {factor});"


class Rows:
    """Pieces of C that read one vector of a map at a stride: the same for copies and pools. Final.

    Written lines expect `from` (the channel's first row), `v` (the row of vectors in the result); `dx` is a C constant
    or variable."""

    def __init__(self, source: Layout, out: Layout, stride: tuple[int, int]):
        self.source, self.out, self.stride = source, out, stride

    def pointers(self, row: str, blank: str) -> list[str]:
        """row: the C expression of the source row for row y of the result. blank: what rows outside are read from."""
        source, lines = self.source, []
        for group in range(self.out.groups):
            lines.append(f"const int32_t y{group} = v + {group * self.out.rows};")
            lines.append(f"const int32_t r{group} = {row.replace('@', f'y{group}')};")
            place = f"(r{group} % {source.rows}) * {source.vecs * source.lanes} + (r{group} / {source.rows}) * {source.span}"
            if source.groups == 1:
                place = f"r{group} * {source.vecs * source.lanes}"
            inside = f"r{group} >= 0 && r{group} < {source.height}"
            lines.append(f"const number *s{group} = {inside} ? from + ({place}) : {blank};")
        return lines

    @property
    def reach(self) -> int:
        """How many numbers behind a row's start may be read."""
        return (self.out.vecs * self.out.lanes) * self.stride[1] + self.out.lanes

    def vector(self, side: int, dx: str) -> str:
        """The expression of vector `side` of the result's row."""
        lanes, step = self.out.lanes, self.stride[1]
        if step > 2:
            return self.slowly(side, dx)
        if self.out.groups == 1:
            at = f"s0 + {side * lanes * step} + {dx}"
            if step == 1:
                return f"load({at})"
            index = ", ".join(str(2 * lane) for lane in range(lanes))
            return f"MOVE(load({at}), load({at} + {lanes}), {index})"
        parts, count = [f"load(s{group} + {dx})" for group in range(self.out.groups)], self.out.span
        while len(parts) > 1:
            take = [i * step for i in range(count)] + [lanes + i * step for i in range(count)]
            index = ", ".join(map(str, take + [0] * (lanes - 2 * count)))
            parts = [f"MOVE({a}, {b}, {index})" for a, b in zip(parts[::2], parts[1::2], strict=True)]
            count, step = 2 * count, 1
        return parts[0]

    def slowly(self, side: int, dx: str) -> str:
        """One number after another, for strides above 2."""
        step, span = self.stride[1], self.out.span
        columns = [side * self.out.lanes + lane % span for lane in range(self.out.lanes)]
        inside = [
            f"s{lane // span}[{column * step} + {dx}]" if column < self.out.width else "0"
            for lane, column in enumerate(columns)
        ]
        return f"(vn){{{', '.join(inside)}}}"


def columns_mask(source: Layout, out: Layout, step: int, dx: int) -> np.ndarray:
    """(vecs, lanes) bool: lanes whose pixel lies inside the source and the result."""
    lanes = np.arange(out.vecs * out.lanes)
    column = lanes % out.span if out.groups > 1 else lanes
    inside = (column < out.width) & (column * step + dx >= 0) & (column * step + dx < source.width)
    return inside.reshape(out.vecs, out.lanes)


def mask_table(writer: Writer, flags: np.ndarray) -> str:
    kind, dtype = ("int32_t", np.int32) if writer.numbers is FP32 else ("int16_t", np.int16)
    return writer.table(kind, -flags.astype(dtype))


def blank(writer: Writer, reach: int, value: float, left: int) -> str:
    """A row of one value to read where the map has none; a pointer into it so that `left` numbers before it exist."""
    name = writer.table("float" if writer.numbers is FP32 else "int16_t", filled(writer, reach + left, value))
    return f"{name} + {left}"


def filled(writer: Writer, count: int, value: float) -> np.ndarray:
    return np.full(count, value, dtype=np.float32 if writer.numbers is FP32 else np.int16)


def write_expand(writer: Writer, op: Expand) -> str:
    """Copies of channels, each where a strided convolution wants it, rows beyond the edges included."""
    out, step = op.out, op.stride
    if not op.copies:
        return ""
    source = writer.owners[op.copies[0].channel].layout if writer.owners else None
    if source is None:
        source = writer.program.owner(op.copies[0].channel).layout
    rows = Rows(source, out.layout, step)
    offsets = sorted({copy.column for copy in op.copies})
    flags = np.stack([columns_mask(source, out.layout, step[1], dx) for dx in offsets])
    left = max(0, -offsets[0])
    zeros = blank(writer, rows.reach + max(0, offsets[-1]), 0, left)
    name = f"expand_{source.height}x{source.width}_{out.layout.height}x{out.layout.width}_{step[0]}_{step[1]}"
    name += f"_{out.above}_{out.below}_{left}_{max(0, offsets[-1])}"
    lines = [
        f"static void {name}(vn *ws, const int32_t *t, const vm *masks, int32_t channels) {{",
        "  for (; channels > 0; channels--, t += 5) {",
        "    const number *from = (const number *)(ws + t[0]);",
        "    const int32_t row = t[1], dx = t[2];",
        f"    const vm *mask = masks + t[3] * {out.layout.vecs};",
        "    vn *to = ws + t[4];",
        f"    for (int32_t v = {-out.above}; v < {out.layout.rows + out.below}; v++) {{",
        *("      " + line for line in rows.pointers(f"@ * {step[0]} + row", zeros)),
    ]
    for side in range(out.layout.vecs):
        lines.append(f"      to[v * {out.layout.vecs} + {side}] = keep({rows.vector(side, 'dx')}, mask[{side}]);")
    lines += ["    }", "  }", "}", ""]
    writer.function(name, "\n".join(lines))
    table = []
    for index, copy in enumerate(op.copies):
        place = out.offset + index * out.stride
        table += [writer.place(copy.channel), copy.row, copy.column, offsets.index(copy.column), place]
    return f"{name}(ws, {writer.ints(table)}, (const vm *){mask_table(writer, flags)}, {len(op.copies)});"


MAP_TABLE = """\
typedef struct {
  const int32_t *in, *out;
  int32_t channels;
  const int32_t *index[6];
  const float *factor[6];
} map_table;
"""


def live_of(out: Maps, read: set[int]) -> list[int]:
    return [c for c in range(out.count) if out.first + c in read]


def write_each(writer: Writer, op: MapEach, read: set[int]) -> str:
    """Steps on every vector of every channel."""
    live, layout = live_of(op.out, read), op.out.layout
    made = write_map_steps(writer, op.steps, live)
    mask = "" if layout.full else f"\n      r = keep(r, ((const vm *){masks(writer, layout)})[at]);"
    name = f"each{made.name}" + ("" if layout.full else f"_{layout.height}x{layout.width}")
    lines = "\n      ".join(line.replace(" + @i", "") for line in made.lines)
    setup = "\n    ".join(made.setup)
    writer.function(
        name,
        f"""\
static void {name}(vn *ws, const map_table *t, int32_t vectors) {{
  for (int32_t o = 0; o < t->channels; o++) {{
    const int32_t in = t->in[o];
    vn *out = ws + t->out[o];
    {setup}
    for (int32_t at = 0; at < vectors; at++) {{
      vn r = in < 0 ? (vn){{0}} : ws[in + at];
      {lines}{mask}
      out[at] = r;
    }}
  }}
}}
""",
    )
    return table_call(writer, name, op.x, op.out, live, made, f", {layout.num_vectors}")


def table_call(writer, name, x, out, live, made, more) -> str:  # type: ignore[no-untyped-def]
    from prunelle.ship.c.steps import struct

    ins = writer.ints(writer.place(x[c]) for c in live)
    outs = writer.ints(writer.place(out.first + c) for c in live)
    return f"static const map_table t = {{{ins}, {outs}, {len(live)}, {struct(made)}}};\n{name}(ws, &t{more});"


def write_pool(writer: Writer, op: Pool, read: set[int]) -> str:
    """Largest or mean of a window."""
    live, out = live_of(op.out, read), op.out.layout
    number = next((n for n in op.x if n != ZERO), None)
    if number is None:
        return "\n".join(f"memset(ws + {writer.place(op.out.first + c)}, 0, {out.num_vectors} * sizeof(vn));" for c in live)  # fmt: skip
    source = writer.program.owner(number).layout
    rows = Rows(source, out, op.stride)
    made = write_map_steps(writer, op.steps, live)
    low = -32768 if writer.numbers is not FP32 else float(np.finfo(np.float32).min)
    value = low if op.kind == "max" else 0
    empty = blank(writer, rows.reach + op.kernel[1], value, op.pad[1])
    name = f"pool_{op.kind}_{source.height}x{source.width}_{out.height}x{out.width}_{op.kernel[0]}_{op.kernel[1]}"
    name += f"_{op.stride[0]}_{op.stride[1]}_{op.pad[0]}_{op.pad[1]}_{int(op.count_pad)}{made.name}"
    lines = window(writer, op, rows, value, empty)
    tail = "" if out.full else f"r = keep(r, ((const vm *){masks(writer, out)})[at]);"
    steps = " ".join(line.replace(" + @i", "") for line in made.lines)
    setup = "\n    ".join(made.setup)
    text = [
        f"static void {name}(vn *ws, const map_table *t) {{",
        "  for (int32_t o = 0; o < t->channels; o++) {",
        "    const int32_t in = t->in[o];",
        "    const number *from = (const number *)(ws + (in < 0 ? 0 : in));",
        "    vn *out = ws + t->out[o];",
        f"    {setup}",
        f"    for (int32_t v = 0; v < {out.rows}; v++) {{",
        f"      vn {', '.join(f'a{side}' for side in range(out.vecs))};",
        *("      " + line for line in lines),
    ]
    for side in range(out.vecs):
        text.append(f"      {{ const int32_t at = v * {out.vecs} + {side};")
        text.append(
            f"        vn r = in < 0 ? (vn){{0}} : a{side}; {mean_factor(writer, op)} {steps} {tail} out[at] = r; }}"
        )
    text += ["    }", "  }", "}", ""]
    writer.function(name, "\n".join(text))
    return table_call(writer, name, op.x, op.out, live, made, "")


def window(writer: Writer, op: Pool, rows: Rows, value: float, empty: str) -> list[str]:
    """The lines that bring all pixels of a window together in a0, a1, ..."""
    lines, out = [], rows.out
    share = (
        writer.values([32768 / (op.kernel[0] * op.kernel[1])])
        if writer.numbers is not FP32 and op.kind == "mean"
        else ""
    )
    for ky in range(op.kernel[0]):
        lines.append("{")
        lines += rows.pointers(f"@ * {op.stride[0]} + {ky - op.pad[0]}", empty)
        for kx in range(op.kernel[1]):
            flags = columns_mask(rows.source, out, op.stride[1], kx - op.pad[1])
            for side in range(out.vecs):
                read = rows.vector(side, str(kx - op.pad[1]))
                if not flags[side].all():
                    table = f"((const vm *){mask_table(writer, flags[side])})[0]"
                    lowest = "spread_number(LOWEST)" if op.kind == "max" else ""
                    read = f"either({read}, {lowest}, {table})" if op.kind == "max" else f"keep({read}, {table})"
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


def mean_factor(writer: Writer, op: Pool) -> str:
    """What a sum is multiplied with: one over the pixels of the window, or those of them that lie inside."""
    if op.kind != "mean" or writer.numbers is not FP32:
        return ""
    if op.count_pad or op.pad == (0, 0):
        return f"r = r * {1 / (op.kernel[0] * op.kernel[1])!r}f;"
    out, owner = op.out.layout, writer.program.owner(next(n for n in op.x if n != ZERO)).layout
    counts = [
        [sum(0 <= i * s - p + j < size for j in range(k)) for i in range(length)]
        for length, s, p, k, size in zip(
            (out.height, out.width), op.stride, op.pad, op.kernel, (owner.height, owner.width), strict=True
        )
    ]
    factors = np.zeros(out.num_vectors * out.lanes, dtype=np.float32)
    for y in range(out.height):
        for x in range(out.width):
            factors[out.place(y, x)] = 1 / (counts[0][y] * counts[1][x])
    return f"r = r * ((const vn *){writer.floats(factors)})[at];"


def write_mean(writer: Writer, op: Mean, scales: list[float] | None = None) -> str:
    """One number a channel. scales: what int16 pixels count, one a channel."""
    source = writer.program.owner(next(n for n in op.x if n != ZERO)).layout if any(op.x) else None
    vectors, pixels = (source.num_vectors, source.height * source.width) if source else (0, 1)
    places = writer.ints(writer.place(n) for n in op.x)
    factors = writer.floats([(scales[i] if scales else 1.0) / pixels for i in range(len(op.x))])
    total = "s += *p;" if writer.numbers is FP32 else "s += __builtin_convertvector(*p, vwide);"
    kind, lanes = ("vn", "LANES") if writer.numbers is FP32 else ("vwide", "LANES")
    one = "float" if writer.numbers is FP32 else "int32_t"
    writer.function(
        "mean",
        f"""\
static void mean(vn *ws, const int32_t *in, const float *factor, int32_t out, int32_t channels, int32_t vectors) {{
  float *to = (float *)(ws + out);
  for (int32_t c = 0; c < channels; c++) {{
    {kind} s = {{0}};
    if (in[c] >= 0)
      for (const vn *p = ws + in[c], *end = p + vectors; p < end; p++) {total}
    {one} sum = 0;
    for (int32_t i = 0; i < {lanes}; i++) sum += s[i];
    to[c] = (float)sum * factor[c];
  }}
}}
""",
    )
    return f"mean(ws, {places}, {factors}, {op.out.offset}, {len(op.x)}, {vectors});"


def write_flatten(writer: Writer, op: Flatten, scales: list[float] | None = None) -> str:
    """Pixels one after another as floats. scales: as in `write_mean`."""
    number = next((n for n in op.x if n != ZERO), None)
    if number is None:
        return f"memset(ws + {op.out.offset}, 0, {op.out.count} * sizeof(float));"
    layout = writer.program.owner(number).layout
    name = f"flatten_{layout.height}x{layout.width}"
    factors = writer.floats(scales or [1.0] * len(op.x))
    writer.function(
        name,
        f"""\
static void {name}(vn *ws, const int32_t *in, const float *factor, int32_t out, int32_t channels) {{
  float *to = (float *)(ws + out);
  for (int32_t c = 0; c < channels; c++) {{
    const float f = factor[c];
    if (in[c] < 0) {{
      memset(to, 0, {layout.height * layout.width} * sizeof(float));
      to += {layout.height * layout.width};
      continue;
    }}
    for (int32_t y = 0; y < {layout.height}; y++) {{
      const number *row = (const number *)(ws + in[c]) + (y % {layout.rows}) * {layout.vecs * layout.lanes}
                          + (y / {layout.rows}) * {layout.span};
      for (int32_t x = 0; x < {layout.width}; x++) *to++ = (float)row[x] * f;
    }}
  }}
}}
""",
    )
    return f"{name}(ws, {writer.ints(writer.place(n) for n in op.x)}, {factors}, {op.out.offset}, {len(op.x)});"
