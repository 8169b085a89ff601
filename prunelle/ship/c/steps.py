"""What is done to a sum before it is stored: bias, scales, other maps, activations; one expression a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from prunelle.ship.c.fixed_point import AddScaled, Limit, Relu, Rescale, Times
from prunelle.ship.c.ops import ZERO, Activate, AddMaps, Affine, Gate, JoinVector, MulMaps, Step
from prunelle.ship.c.writer import Writer, short_hex


@dataclass
class Written:
    """name: part of a kernel's name, equal where the text is. setup: lines once a channel. lines: once a vector, with
    r for the value, @i for the vector's number in the tile. arguments: initialisers of the table's fields."""

    name: str = ""
    setup: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    factors: list[str] = field(default_factory=list)

    def place(self, table: str) -> int:
        self.places.append(table)
        return len(self.places) - 1

    def factor(self, table: str) -> int:
        self.factors.append(table)
        return len(self.factors) - 1


FIELDS = 6
"""Tables of places, and of factors, that the steps of one operation may have."""


def write_map_steps(writer: Writer, steps: Sequence[Step], channels: Sequence[int]) -> Written:
    """Steps on maps. channels: which entries of the steps' tables stand for the channels computed."""
    made = Written()
    for step in steps:
        if write_integer_step(writer, step, list(channels), made):
            continue
        if isinstance(step, Activate):
            made.name += f"_{step.kind}" + (limits(step) if step.kind in ("clamp", "leaky") else "")
            made.lines.append(f"r = {call(step, 'r')};")
        elif isinstance(step, Affine):
            k = made.factor(writer.floats(step.scale[list(channels)]))
            j = made.factor(writer.floats(step.shift[list(channels)]))
            made.name += f"_affine{k}"
            made.setup.append(f"const float m{k} = t->factor[{k}][o], m{j} = t->factor[{j}][o];")
            made.lines.append(f"r = r * m{k} + m{j};")
        elif isinstance(step, AddMaps | MulMaps):
            k = made.place(writer.ints(writer.place(step.other[c]) for c in channels))
            sign, word = ("+", "add") if isinstance(step, AddMaps) else ("*", "mul")
            made.name += f"_{word}{k}"
            made.setup.append(f"const int32_t p{k} = t->index[{k}][o];")
            if any(step.other[c] == ZERO for c in channels):
                made.name += "z"
                other = f"(p{k} < 0 ? (vn){{0}} : ws[p{k} + at + @i])"
            else:
                other = f"ws[p{k} + at + @i]"
            made.lines.append(f"r = r {sign} {other};")
        elif isinstance(step, Gate):
            start = step.vector.offset * writer.float_lanes
            k = made.place(writer.ints(start + c for c in channels))
            made.name += f"_gate{k}"
            made.setup.append(f"const float g{k} = ((const float *)ws)[t->index[{k}][o]];")
            made.lines.append(f"r = r * g{k};")
        else:
            raise AssertionError(f"a map cannot take {step}")
    return made


def write_integer_step(writer: Writer, step: object, channels: list[int], made: Written) -> bool:
    """The steps of fixed point; False for another."""
    if isinstance(step, Relu):
        made.name += "_relu"
        made.lines.append("r = larger(r, (vn){0});")
    elif isinstance(step, Rescale):
        k = made.place(writer.ints(step.shifts[channels]))
        made.name += f"_shift{k}" + ("_relu" if step.relu else "")
        low = "(vn){0}" if step.relu else f"spread(-32768 >> k{k})"
        made.setup.append(f"const int32_t k{k} = t->index[{k}][o];")
        made.setup.append(f"const vn h{k} = spread(32767 >> k{k}), l{k} = {low};")
        made.lines.append(f"r = larger(smaller(r, h{k}), l{k}) << (int16_t)k{k};")
    elif isinstance(step, Times):
        k = made.place(writer.ints(np.minimum(step.factors[channels], 32767)))
        made.name += f"_times{k}"
        made.setup.append(f"const vn f{k} = spread(t->index[{k}][o]);")
        made.lines.append(f"r = times(r, f{k});")
    elif isinstance(step, Limit):
        k, j = (made.place(writer.ints(values[channels])) for values in (step.low, step.high))
        made.name += f"_limit{k}"
        made.setup.append(f"const vn l{k} = spread(t->index[{k}][o]), h{k} = spread(t->index[{j}][o]);")
        made.lines.append(f"r = smaller(larger(r, l{k}), h{k});")
    elif isinstance(step, AddScaled):
        write_add_scaled(writer, step, channels, made)
    else:
        return False
    return True


def write_add_scaled(writer: Writer, step: AddScaled, channels: list[int], made: Written) -> None:
    k = made.place(writer.ints(writer.place(step.other[c]) for c in channels))
    made.setup.append(f"const int32_t p{k} = t->index[{k}][o];")
    other, made.name = f"ws[p{k} + at + @i]", made.name + f"_add{k}"
    factors = step.factors[channels]
    live = np.array([step.other[c] != ZERO for c in channels])
    if not live.all():
        made.name += "z"
        other = f"(p{k} < 0 ? (vn){{0}} : {other})"
    if not (factors[live] == 32768).all():
        j = made.place(writer.ints(np.minimum(factors, 32767)))
        made.name += f"_scaled{j}"
        made.setup.append(f"const vn f{k} = spread(t->index[{j}][o]);")
        other = f"times({other}, f{k})"
    made.lines.append(f"r = plus(r, {other});")


def write_vector_steps(writer: Writer, steps: Sequence[Step], count: int) -> Written:
    """Steps on a vector of floats; @i is the number of the vector of lanes."""
    made = Written()
    whole = -(-count // writer.float_lanes) * writer.float_lanes
    for step in steps:
        if isinstance(step, Activate):
            made.name += f"_{step.kind}" + (limits(step) if step.kind in ("clamp", "leaky") else "")
            made.lines.append(f"r = {call(step, 'r')};")
        elif isinstance(step, Affine):
            k, j = (made.factor(writer.floats(np.pad(v, (0, whole - count)))) for v in (step.scale, step.shift))
            made.name += f"_affine{k}"
            made.lines.append(f"r = r * loadf(t->factor[{k}] + (@i) * FLOATS) + loadf(t->factor[{j}] + (@i) * FLOATS);")
        elif isinstance(step, JoinVector):
            k = made.place(writer.ints([step.other.offset]))
            made.name += f"_{step.kind}{k}"
            sign = "+" if step.kind == "add" else "*"
            made.lines.append(f"r = r {sign} ((const vf *)ws)[t->index[{k}][0] + (@i)];")
        else:
            raise AssertionError(f"a vector cannot take {step}")
    return made


def call(step: Activate, x: str) -> str:
    if step.kind == "clamp":
        return f"clampf_({x}, {short_hex(step.low)}, {short_hex(step.high)})"
    if step.kind == "leaky":
        return f"leaky_({x}, {short_hex(step.low)})"
    return f"{step.kind}_({x})"


def limits(step: Activate) -> str:
    """The limits as a piece of a C name."""
    texts = [short_hex(v) for v in (step.low, step.high)]
    return "".join("_" + "".join(c if c.isalnum() else {"-": "m", ".": "d", "+": ""}[c] for c in t) for t in texts)


def struct(made: Written) -> str:
    """The last fields of a table's initialiser."""
    assert len(made.places) <= FIELDS and len(made.factors) <= FIELDS, "more steps than a table has room for"
    places, factors = (", ".join(found) or "0" for found in (made.places, made.factors))
    return f"{{{places}}}, {{{factors}}}"
