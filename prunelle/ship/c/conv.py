"""The C of convolutions: for one tile of vectors and one output channel (or a few), all weights that are not zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prunelle.ship.c.layout import Layout, valid_lanes
from prunelle.ship.c.pairs import largest_of_four, unit_of
from prunelle.ship.c.rows import mask_table
from prunelle.ship.c.steps import FIELDS, Written, struct, write_map_steps
from prunelle.ship.c.taps import TapConv
from prunelle.ship.c.writer import FP32, Writer

CONV_TABLE = f"""\
typedef struct {{
  const int32_t *count, *place;
  const weight_t *weight;
  const number *bias;
  const int32_t *out;
  int32_t channels;
  const int32_t *index[{FIELDS}];
  const float *factor[{FIELDS}];
}} conv_table;
"""


@dataclass(frozen=True)
class Shape:
    """A variant of the kernel. tile: vectors summed at once. block: output channels that share one list of places."""

    tile: int
    block: int

    @property
    def name(self) -> str:
        return f"{self.block} x {self.tile} vectors"


def shapes(op: TapConv, registers: int) -> list[Shape]:
    """The variants worth timing, the likeliest first."""
    layout = op.sums
    first, last = op.first_column, op.first_column + op.num_columns - 1
    sets = 2 if first < 0 < last else 1
    unit = unit_of(layout, op.out.layout) if op.inner else layout.vecs if first or last else 1
    found = []
    for block in (1, 2, 4):
        room = registers // (sets * block)
        for most in sorted({room, room // 2}, reverse=True):
            if most >= unit:
                tile = best_tile(layout.num_vectors, unit, most)
                found.append(Shape(tile, block))
    return list(dict.fromkeys(found))


def best_tile(total: int, unit: int, most: int) -> int:
    """The tile of whole units, at most `most` vectors, that leaves the fewest tiles and then the least over."""
    sizes = range(unit, min(most, total) + 1, unit)
    return min(sizes, key=lambda size: (-(-total // size), size))


def write_conv(writer: Writer, op: TapConv, shape: Shape, read: set[int]) -> str:
    """The calls that run a convolution in one variant."""
    live = [c for c in range(op.out.count) if op.out.first + c in read]
    made = write_map_steps(writer, op.steps, live)
    counts, places, weights = listing(writer, op, live, shape.block)
    fields = [
        writer.ints(counts), writer.ints(places), weight_table(writer, weights),
        writer.values([op.bias[c] for c in live]), writer.ints(writer.place(op.out.first + c) for c in live),
        str(len(live)), struct(made),
    ]  # fmt: skip
    return calls(writer, op, shape, made, "{" + ", ".join(fields) + "}")


def weight_table(writer: Writer, weights: np.ndarray) -> str:
    """Floats, or int16 written twice into one int32: that is spread over a vector by a plain load."""
    if writer.numbers is FP32:
        return writer.floats(weights)
    low = weights.astype(np.int64) & 0xFFFF
    return writer.ints((low | low << 16).astype(np.uint32).view(np.int32))


def calls(writer: Writer, op: TapConv, shape: Shape, made: Written, fields: str) -> str:
    total = op.sums.num_vectors
    whole, rest = divmod(total, shape.tile)
    lines = [f"static const conv_table t = {fields};"]
    for tile, at, times in ((shape.tile, 0, whole), (rest, whole * shape.tile, 1)):
        if tile and times:
            name = kernel(writer, op, Shape(tile, shape.block), made)
            lines.append(f"{name}(ws, &t, {at}, {times});")
    return "\n".join(lines)


def listing(writer: Writer, op: TapConv, live: list[int], block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of entries per (block of channels, column), places of inputs in vectors, weights (one a channel)."""
    slot_of = np.full(op.out.count, -1)
    slot_of[live] = np.arange(len(live))
    slots, columns, channels, downs = slot_of[op.taps[:, 0]], *op.taps.T[1:]
    lists = slots // block * op.num_columns + columns
    keys = np.stack([lists, channels, downs], 1)
    entries, place = np.unique(keys, axis=0, return_inverse=True) if len(keys) else (keys, slots)
    weights = np.zeros((len(entries), block))
    weights[place.reshape(-1), slots % block] = op.weights
    counts = np.bincount(entries[:, 0], minlength=-(-len(live) // block) * op.num_columns)
    numbers = np.unique(entries[:, 1])
    at = np.array([writer.place(int(n)) for n in numbers], dtype=np.int64)
    places = at[np.searchsorted(numbers, entries[:, 1])] if len(entries) else entries[:, 1]
    return counts, places + entries[:, 2] * op.sums.vecs, weights.reshape(-1)


def kernel(writer: Writer, op: TapConv, shape: Shape, made: Written) -> str:
    """Write the kernel for this shape, these columns and steps; gives its name."""
    layout, out = op.sums, op.out.layout
    first, num = op.first_column, op.num_columns
    moved = first != 0 or num > 1
    where = f"_v{layout.vecs}_s{layout.span}_l{-first}_r{num + first - 1}" if moved else ""
    masked = "" if layout.full and not op.inner else f"_{layout.height}x{layout.width}"
    masked += f"_largest_{out.height}x{out.width}" if op.inner else ""
    name = f"conv_{shape.tile}_{shape.block}{where}{made.name}{masked}"
    if name in writer.functions:
        return name
    tile, block = shape.tile, shape.block
    body = [
        f"static void {name}(vn *ws, const conv_table *t, int32_t at, int32_t tiles) {{",
        f"  for (; tiles > 0; tiles--, at += {tile}) {{",
        "    const vn *in = ws + at;",
        "    const int32_t *place = t->place, *count = t->count;",
        "    const weight_t *weight = t->weight;",
        f"    for (int32_t block = 0; block < t->channels; block += {block}) {{",
    ]
    body += ["      " + line for line in sums(layout, shape, first, num)]
    for slot in range(block):
        body += ["      " + line for line in finish(writer, op, shape, slot, made)]
    body += ["    }", "  }", "}", ""]
    return writer.function(name, "\n".join(body))


def sums(layout: Layout, shape: Shape, first: int, num: int) -> list[str]:
    """The sums of one block: left columns, the middle, right columns."""
    names = [[f"a{b}_{i}" for i in range(shape.tile)] for b in range(shape.block)]
    lines = [declare(names)]
    for column in range(first, 1):
        lines += accumulate(names)
        if column < 0:
            lines += [line for row in names for line in move_right(row, layout)]
    last = first + num - 1
    if last > 0:
        right = [[n.replace("a", "b", 1) for n in row] for row in names]
        lines.append(declare(right))
        # The lists come from left to right: the right ones are summed from the middle outwards, each moved by its own.
        if last == 1:
            lines += accumulate(right) + [line for row in right for line in move_left(row, layout)]
        else:
            lines += outwards(names, right, layout, last)
            return lines
        lines += [f"{a} += {b};" for ra, rb in zip(names, right, strict=True) for a, b in zip(ra, rb, strict=True)]
    return lines


def outwards(names: list[list[str]], right: list[list[str]], layout: Layout, last: int) -> list[str]:
    """Two and more columns to the right, each summed alone and moved by as many lanes as it lies off."""
    lines: list[str] = []
    for column in range(1, last + 1):
        if column > 1:
            lines += [f"{n} = (vn){{0}};" for row in right for n in row]
        lines += accumulate(right)
        for _ in range(column):
            lines += [line for row in right for line in move_left(row, layout)]
        lines += [f"{a} += {b};" for ra, rb in zip(names, right, strict=True) for a, b in zip(ra, rb, strict=True)]
    return lines


def declare(names: list[list[str]]) -> str:
    return "vn " + ", ".join(f"{n} = {{0}}" for row in names for n in row) + ";"


def accumulate(names: list[list[str]]) -> list[str]:
    """One list of entries."""
    block, tile = len(names), len(names[0])
    lines = ["for (int32_t n = *count++; n > 0; n--) {", "  const vn *x = in + *place++;"]
    lines += [f"  const spread_t w{b} = spread_weight(weight[{b}]);" for b in range(block)]
    lines.append(f"  weight += {block};")
    if block == 1:
        lines += [f"  ADD({names[0][i]}, w0, x[{i}]);" for i in range(tile)]
    else:
        for i in range(tile):
            lines.append(f"  {{ const vn v = x[{i}];")
            lines += [f"    ADD({names[b][i]}, w{b}, v);" for b in range(block)]
            lines.append("  }")
    return [*lines, "}"]


def move_right(row: list[str], layout: Layout) -> list[str]:
    """Every pixel one column to the right; zeros come in at the left edge."""
    lanes, lines = layout.lanes, []
    for i in range(len(row) - 1, -1, -1):
        inner = i % layout.vecs > 0
        index = [lanes + lane - 1 if lane % layout.span else (lanes - 1 if inner else 0) for lane in range(lanes)]
        before = row[i - 1] if inner else "(vn){0}"
        lines.append(f"{row[i]} = MOVE({before}, {row[i]}, {', '.join(map(str, index))});")
    return lines


def move_left(row: list[str], layout: Layout) -> list[str]:
    """Every pixel one column to the left; zeros come in at the right edge."""
    lanes, lines = layout.lanes, []
    for i in range(len(row)):
        inner = i % layout.vecs < layout.vecs - 1
        index = [lane + 1 if (lane + 1) % layout.span else lanes for lane in range(lanes)]
        after = row[i + 1] if inner else "(vn){0}"
        lines.append(f"{row[i]} = MOVE({row[i]}, {after}, {', '.join(map(str, index))});")
    return lines


def finish(writer: Writer, op: TapConv, shape: Shape, slot: int, made: Written) -> list[str]:
    """Bias, steps and stores of one output channel."""
    layout, place = op.out.layout, "at"
    guard = f"if (block + {slot} < t->channels) " if slot else ""
    lines = [guard + "{", f"  const int32_t o = block + {slot};", "  const number bias = t->bias[o];"]
    lines += ["  " + line for line in made.setup]
    mask = "" if layout.full else masks(writer, layout)
    values: list[tuple[list[str], list[str]]] = [([], [f"a{slot}_{i}"]) for i in range(shape.tile)]
    if op.inner:
        values, place = (
            largest_of_four(op.inner, layout, [v[0] for _, v in values]),
            f"at / {2 * op.inner.vecs} * {layout.vecs}",
        )
    lines.append(f"  vn *out = ws + t->out[o] + {place};")
    number = 0
    for before, vectors in values:
        lines += ["  {", *("    " + line for line in before)]
        for vector in vectors:
            lines.append(f"    {{ vn r = {vector} + bias;")
            lines += ["      " + line.replace("@i", str(number)) for line in made.lines]
            if mask:
                lines.append(f"      r = keep(r, ((const vm *){mask})[{place} + {number}]);")
            lines.append(f"      out[{number}] = r; }}")
            number += 1
        lines.append("  }")
    return [*lines, "}"]


def masks(writer: Writer, layout: Layout) -> str:
    """The table of which lanes hold pixels."""
    return mask_table(writer, np.array([valid_lanes(layout, vector) for vector in range(layout.num_vectors)]))
