"""The C of what happens to whole maps: loading, rows beyond the edges, steps, means, flattening."""

from __future__ import annotations

from prunelle.ship.c.conv import masks
from prunelle.ship.c.layout import Layout
from prunelle.ship.c.ops import ZERO, Flatten, Load, MapEach, Maps, Mean, Pool
from prunelle.ship.c.steps import Written, struct, write_map_steps
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


LOAD_SHORTS = """\
for (int32_t x = 0; x < @WIDTH@; x += FLOATS) {
        const int32_t at = x + FLOATS <= @WIDTH@ ? x : @WIDTH@ - FLOATS;  /* the last ones once more */
        const vhalf r = to_numbers(loadf(row + at), scale);
        memcpy(p + at, &r, sizeof r);
      }"""


def write_load(writer: Writer, op: Load, scale: float | None = None) -> str:
    """The image into its buffer. scale: what int16 pixels count, None for floats."""
    layout = op.out.layout
    name = f"load_{layout.height}x{layout.width}"
    store = f"memcpy(p, row, {layout.width} * sizeof(float));"
    if writer.numbers is not FP32:
        store = f"for (int32_t x = 0; x < {layout.width}; x++) p[x] = to_number(row[x], scale);"
        if layout.width >= writer.float_lanes:
            store = LOAD_SHORTS.replace("@WIDTH@", str(layout.width))
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
      {store}
    }}
  }}
}}
""",
    )
    factor = "1.f" if scale is None else f"{1 / scale!r}f"
    return f"{name}(ws, in, {op.out.offset}, {op.out.stride}, {op.out.count}, {factor});"


MAP_TABLE = """\
typedef struct {
  const int32_t *in, *out;
  int32_t channels;
  const int32_t *index[6];
  const float *factor[6];
} map_table;
"""


def live_of(out: Maps, read: set[int]) -> list[int]:
    """Which channels of a buffer somebody reads, from 0."""
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
    return table_call(writer, name, op, live, made, f", {layout.num_vectors}")


def table_call(writer: Writer, name: str, op: MapEach | Pool, live: list[int], made: Written, more: str = "") -> str:
    """The table of a function on maps, and its call. live: which channels are computed. more: further arguments."""
    x, out = op.x, op.out
    ins = writer.ints(writer.place(x[c]) for c in live)
    outs = writer.ints(writer.place(out.first + c) for c in live)
    return f"static const map_table t = {{{ins}, {outs}, {len(live)}, {struct(made)}}};\n{name}(ws, &t{more});"


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


FLATTEN_WHOLE = """\
const number *p = (const number *)(ws + in[c]);
    int32_t i = 0;
    for (; i + FLOATS <= @PIXELS@; i += FLOATS) {
      const vf r = to_floats(p + i) * f;
      memcpy(to + i, &r, sizeof r);
    }
    for (; i < @PIXELS@; i++) to[i] = (float)p[i] * f;
    to += @PIXELS@;"""

FLATTEN_FLOATS = """\
memcpy(to, ws + in[c], @PIXELS@ * sizeof(float));
    to += @PIXELS@;"""

FLATTEN_ROWS = """\
for (int32_t y = 0; y < @HEIGHT@; y++) {
      const number *row = (const number *)(ws + in[c]) + (y % @ROWS@) * @LINE@ + (y / @ROWS@) * @SPAN@;
      for (int32_t x = 0; x < @WIDTH@; x++) *to++ = (float)row[x] * f;
    }"""


def write_flatten(writer: Writer, op: Flatten, scales: list[float] | None = None) -> str:
    """Pixels one after another as floats. scales: as in `write_mean`."""
    number = next((n for n in op.x if n != ZERO), None)
    if number is None:
        return f"memset(ws + {op.out.offset}, 0, {op.out.count} * sizeof(float));"
    layout = writer.program.owner(number).layout
    name = f"flatten_{layout.height}x{layout.width}"
    factors = writer.floats(scales or [1.0] * len(op.x))
    pixels, lines = layout.height * layout.width, FLATTEN_ROWS
    if all(layout.place(*divmod(pixel, layout.width)) == pixel for pixel in range(pixels)):
        lines = FLATTEN_FLOATS if scales is None else FLATTEN_WHOLE
    for word, value in (("HEIGHT", layout.height), ("WIDTH", layout.width), ("ROWS", layout.rows), ("PIXELS", pixels)):
        lines = lines.replace(f"@{word}@", str(value))
    lines = lines.replace("@LINE@", str(layout.vecs * layout.lanes)).replace("@SPAN@", str(layout.span))
    writer.function(
        name,
        f"""\
static void {name}(vn *ws, const int32_t *in, const float *factor, int32_t out, int32_t channels) {{
  float *to = (float *)(ws + out);
  for (int32_t c = 0; c < channels; c++) {{
    const float f = factor[c];
    (void)f;
    if (in[c] < 0) {{
      memset(to, 0, {layout.height * layout.width} * sizeof(float));
      to += {layout.height * layout.width};
      continue;
    }}
    {lines}
  }}
}}
""",
    )
    return f"{name}(ws, {writer.ints(writer.place(n) for n in op.x)}, {factors}, {op.out.offset}, {len(op.x)});"
