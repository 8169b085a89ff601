"""The C that reads a row of pixels at a stride, and the copies that strided convolutions read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prunelle.ship.c.layout import Layout
from prunelle.ship.c.taps import Expand
from prunelle.ship.c.writer import FP32, Writer


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
            place = f"r{group} * {source.vecs * source.lanes}"
            if source.groups > 1:
                place = f"(r{group} % {source.rows}) * {source.lanes} + (r{group} / {source.rows}) * {source.span}"
            inside = f"r{group} >= 0 && r{group} < {source.height}"
            lines.append(f"const number *s{group} = {inside} ? from + ({place}) : {blank};")
        return lines

    def starts(self, v: int, row: int, blank: str) -> list[str]:
        """What `pointers` writes, for one row of vectors that is known: source row y * stride + row."""
        found = []
        for group in range(self.out.groups):
            y = (v + group * self.out.rows) * self.stride[0] + row
            found.append(f"from + {self.source.place(y, 0)}" if 0 <= y < self.source.height else blank)
        return found

    @property
    def reach(self) -> int:
        """How many numbers behind a row's start may be read."""
        return (self.out.vecs * self.out.lanes) * self.stride[1] + self.out.lanes

    def vector(self, side: int, dx: str, starts: Sequence[str] = ()) -> str:
        """The expression of vector `side` of the result's row. starts: of the source rows; s0, s1, ... where none."""
        lanes, step = self.out.lanes, self.stride[1]
        starts = starts or [f"s{group}" for group in range(self.out.groups)]
        if step > 2:
            return self.slowly(side, dx, starts)
        if self.out.groups == 1:
            at = f"{starts[0]} + {side * lanes * step} + {dx}"
            if step == 1:
                return f"load({at})"
            index = ", ".join(str(2 * lane) for lane in range(lanes))
            return f"MOVE(load({at}), load({at} + {lanes}), {index})"
        parts, count = [f"load({start} + {dx})" for start in starts], self.out.span
        while len(parts) > 1:
            take = [i * step for i in range(count)] + [lanes + i * step for i in range(count)]
            index = ", ".join(map(str, take + [0] * (lanes - 2 * count)))
            parts = [f"MOVE({a}, {b}, {index})" for a, b in zip(parts[::2], parts[1::2], strict=True)]
            count, step = 2 * count, 1
        return parts[0]

    def slowly(self, side: int, dx: str, starts: Sequence[str]) -> str:
        """One number after another, for strides above 2."""
        step, span = self.stride[1], self.out.span
        columns = [side * self.out.lanes + lane % span for lane in range(self.out.lanes)]
        inside = [
            f"({starts[lane // span]})[{column * step} + {dx}]" if column < self.out.width else "0"
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
    """Lanes that count, as masks: all bits or none. Gives the table's name."""
    if writer.numbers is FP32:
        return writer.table("int32_t", np.where(flags, np.int32(-1), np.int32(0)))
    return writer.table("int16_t", np.where(flags, np.int16(-1), np.int16(0)))


def blank(writer: Writer, reach: int, value: float, left: int) -> str:
    """A row of one value to read where the map has none; a pointer into it so that `left` numbers before it exist."""
    return f"{writer.values(np.full(reach + left, value))} + {left}"


MOST_LINES = 64
"""Vectors a copied channel may have for its copying to be written without a loop."""


def write_expand(writer: Writer, op: Expand) -> str:
    """Copies of channels, each where a strided convolution wants it, rows beyond the edges included."""
    if not op.copies:
        return ""
    source = writer.owners[op.copies[0].channel].layout if writer.owners else None
    if source is None:
        source = writer.program.owner(op.copies[0].channel).layout
    rows, offsets = Rows(source, op.out.layout, op.stride), sorted({copy.column for copy in op.copies})
    flags = np.stack([columns_mask(source, op.out.layout, op.stride[1], dx) for dx in offsets])
    left, right = max(0, -offsets[0]), max(0, offsets[-1])
    lanes = np.arange(op.out.layout.vecs * op.out.layout.lanes) % op.out.layout.span
    whole = copies_rows(op) and bool((flags.reshape(len(flags), -1) | (lanes >= op.out.layout.width)).all())
    masks, calls = "" if whole else f"(const vm *){mask_table(writer, flags)}, ", []
    for row in sorted({copy.row for copy in op.copies}):
        name = copy_rows(writer, op, rows, row) if whole else expand(writer, op, rows, row, (left, right))
        table = []
        for index, copy in enumerate(op.copies):
            if copy.row == row:
                place = op.out.offset + index * op.out.stride
                table += [writer.place(copy.channel), copy.column, offsets.index(copy.column), place]
        calls.append(f"{name}(ws, {writer.ints(table)}, {masks}{len(table) // 4});")
    return "\n".join(calls)


def expand(writer: Writer, op: Expand, rows: Rows, row: int, sides: tuple[int, int]) -> str:
    """Write the function that copies channels from source row y * stride + row on; gives its name. Small channels are
    copied without a loop: where each row lies is then known when the C is compiled. sides: columns beyond the left and
    the right edge that are looked at."""
    source, out, step = rows.source, op.out.layout, op.stride
    name = f"expand_{source.height}x{source.width}_{out.height}x{out.width}_{step[0]}_{step[1]}"
    name += f"_{op.out.above}_{op.out.below}_r{row}_{sides[0]}_{sides[1]}".replace("-", "m")
    over = range(-op.out.above, out.rows + op.out.below)
    lines = [
        f"static void {name}(vn *ws, const int32_t *t, const vm *masks, int32_t channels) {{",
        "  for (; channels > 0; channels--, t += 4) {",
        "    const number *from = (const number *)(ws + t[0]);",
        "    const int32_t dx = t[1];",
        f"    const vm *mask = masks + t[2] * {out.vecs};",
        "    vn *to = ws + t[3];",
    ]
    if len(over) * out.vecs <= MOST_LINES:
        for v in over:
            starts = rows.starts(v, row, "@ZEROS@")
            for side in range(out.vecs):
                copied = rows.vector(side, "dx", starts)
                lines.append(f"    to[{v * out.vecs + side}] = keep({copied}, mask[{side}]);")
    else:
        lines.append(f"    for (int32_t v = {over.start}; v < {over.stop}; v++) {{")
        lines += ["      " + line for line in rows.pointers(f"@ * {step[0]} + {row}", "@ZEROS@")]
        for side in range(out.vecs):
            lines.append(f"      to[v * {out.vecs} + {side}] = keep({rows.vector(side, 'dx')}, mask[{side}]);")
        lines.append("    }")
    text = "\n".join([*lines, "  }", "}", ""])
    if "@ZEROS@" in text:
        text = text.replace("@ZEROS@", blank(writer, rows.reach + sides[1], 0, sides[0]))
    return writer.function(name, text)


def copies_rows(op: Expand) -> bool:
    """Whether rows are so short that several share a vector, and so few that each may have its line."""
    out = op.out.layout
    lines = out.groups * (out.rows + op.out.above + op.out.below)
    return op.stride[1] == 1 and 1 < out.groups <= 4 and lines <= 2 * MOST_LINES


def copy_rows(writer: Writer, op: Expand, rows: Rows, row: int) -> str:
    """The same row by row where no pixel lies beyond the left or right edge: short rows seldom lie across two lines of
    the cache, and nothing moves between lanes."""
    source, out = rows.source, op.out.layout
    name = f"copy_rows_{source.height}x{source.width}_{out.height}x{out.width}_{op.stride[0]}"
    name += f"_{op.out.above}_{op.out.below}_r{row}".replace("-", "m")
    lines = [
        f"static void {name}(vn *ws, const int32_t *t, int32_t channels) {{",
        "  for (; channels > 0; channels--, t += 4) {",
        "    const number *from = (const number *)(ws + t[0]) + t[1];",
        "    number *to = (number *)(ws + t[3]);",
    ]
    for v in range(-op.out.above, out.rows + op.out.below):
        for group, start in enumerate(rows.starts(v, row, "")):
            at = f"to + {v * out.lanes + group * out.span}".replace("+ -", "- ")
            from_ = f"memcpy({at}, {start}" if start else f"memset({at}, 0"
            lines.append(f"    {from_}, {out.span} * sizeof(number));")
    return writer.function(name, "\n".join([*lines, "  }", "}", ""]))
