"""16-bit fixed point: pixels and weights are int16, products are rounded to the sum's unit, sums cannot overflow.

Every channel has a unit: 1/32767 of the largest value seen on calibration images, with room for a quarter more; what is
above is held at the end. The unit of a convolution's sum is that of its result times a power of two, the smallest at
which the largest possible sum fits: so additions need not saturate, and one shift afterwards restores the bits.
A product (a * b + 2^14) >> 15 is one instruction on every machine that has vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from prunelle.errors import ModelError
from prunelle.ship.c.evaluate import largest
from prunelle.ship.c.ops import ZERO, Activate, AddMaps, Load, MapEach, Maps, Pool, Program
from prunelle.ship.c.taps import Expand, Placed, TapConv

MOST = 32767
ROOM = 1.25
LEAST = 1e-6
"""The smallest range of a channel, as a share of the largest range of its buffer."""


@dataclass(frozen=True)
class Scales:
    """unit: channel -> what 1 stands for. positive: channels that hold nothing below 0."""

    unit: dict[int, float]
    positive: set[int] = field(default_factory=set)

    def of(self, channel: int) -> float:
        return self.unit.get(channel, 1.0)


@dataclass(eq=False)
class Rescale:
    """r = r * 2^shift held within int16; low: 0 where a ReLU follows."""

    shifts: np.ndarray
    relu: bool


@dataclass(eq=False)
class AddScaled:
    """r = r + other * factor / 32768; factor 32768 stands for 1."""

    other: list[int]
    factors: np.ndarray


@dataclass(eq=False)
class Times:
    """r = r * factor / 32768."""

    factors: np.ndarray


@dataclass(eq=False)
class Relu:
    pass


@dataclass(eq=False)
class Limit:
    """r = at least low, at most high, in the channel's unit."""

    low: np.ndarray
    high: np.ndarray


def fit_scales(program: Program, images: Tensor) -> Scales:
    """Units for every channel of a fused program, from images (n, channels, height, width).

    Raises ModelError for operations that fixed point has no form of.
    """
    ranges = largest(program, images)
    scales = Scales({ZERO: 1.0})
    for op in program.ops:
        if not isinstance(op.out, Maps):
            continue
        most = np.maximum(ranges[op.out].numpy(), LEAST * float(ranges[op.out].max()) or 1.0) * ROOM
        units = most / MOST
        if isinstance(op, Load):
            units[:] = units.max()
        if isinstance(op, Pool):
            units = np.array([scales.of(n) if n != ZERO else own for n, own in zip(op.x, units, strict=True)])
        if isinstance(op, MapEach):
            units = np.maximum(units, [scales.of(n) if n != ZERO else 0 for n in op.x])
        for step in getattr(op, "steps", []):
            if isinstance(step, AddMaps):
                units = np.maximum(units, [scales.of(n) if n != ZERO else 0 for n in step.other])
        positive = never_negative(op, scales)
        for index, unit in enumerate(units):
            scales.unit[op.out.first + index] = float(unit)
            if positive[index]:
                scales.positive.add(op.out.first + index)
    return scales


def never_negative(op, scales: Scales) -> list[bool]:  # type: ignore[no-untyped-def]
    steps = getattr(op, "steps", [])
    last = steps[-1] if steps else None
    if isinstance(last, Activate) and (last.kind == "relu" or (last.kind == "clamp" and last.low >= 0)):
        return [True] * op.out.count
    if isinstance(op, Pool) and not steps:
        return [n in scales.positive or n == ZERO for n in op.x]
    return [False] * op.out.count


def in_fixed_point(ops: list[Placed], scales: Scales) -> list[Placed]:
    """The operations with weights, biases and steps as integers; copies of channels get their channels' units."""
    made: list[Placed] = []
    for op in ops:
        if isinstance(op, Expand):
            for index, copy in enumerate(op.copies):
                scales.unit[op.out.first + index] = scales.of(copy.channel)
                if copy.channel in scales.positive:
                    scales.positive.add(op.out.first + index)
            made.append(op)
        elif isinstance(op, TapConv):
            made.append(quantized(op, scales))
        elif isinstance(op, MapEach | Pool):
            ratio = np.array([scales.of(n) / scales.of(op.out.first + i) for i, n in enumerate(op.x)])
            start = [] if np.all(ratio == 1) else [Times(fraction(ratio))]
            made.append(replace(op, steps=[*start, *integer_steps(op.steps, op.out, scales)]))  # type: ignore[list-item]
        else:
            made.append(op)
    return made


def quantized(op: TapConv, scales: Scales) -> TapConv:
    """Weights in units of the sum, biases too; the shift that brings a sum to the result's unit comes first."""
    outputs, inputs = op.taps[:, 0], op.taps[:, 2]
    units = np.array([scales.of(op.out.first + i) for i in range(op.out.count)])
    values = op.weights * np.array([scales.of(int(n)) for n in inputs])
    positive = np.isin(inputs, np.fromiter(scales.positive, dtype=np.int64, count=len(scales.positive)))
    bound = np.zeros((2, op.out.count))
    for sign, row in ((1, 0), (-1, 1)):
        reach = np.where(positive, np.maximum(sign * values, 0), abs(values)) * MOST
        bound[row] = np.bincount(outputs, reach, op.out.count) + np.maximum(sign * op.bias, 0)
    counts = np.bincount(outputs, minlength=op.out.count)
    room = np.maximum(MOST - 1.5 * counts - 2, MOST / 2)
    shifts = np.ceil(np.log2(np.maximum(bound.max(0) / units / room, 1))).astype(int)
    sums = units * 2.0**shifts
    weights = np.clip(np.rint(values / sums[outputs] * 32768), -MOST, MOST)
    bias = np.clip(np.rint(op.bias / sums), -MOST, MOST)
    first = op.steps[0] if op.steps else None
    relu = isinstance(first, Activate) and first.kind == "relu"
    rest = integer_steps(op.steps[1:] if relu else op.steps, op.out, scales)
    steps = [Rescale(np.minimum(shifts, 15), relu), *rest]
    return replace(op, weights=weights, bias=bias, steps=steps)


def integer_steps(steps, out: Maps, scales: Scales) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Steps of floats as steps of integers."""
    units = np.array([scales.of(out.first + i) for i in range(out.count)])
    made: list = []  # type: ignore[type-arg]
    for step in steps:
        if isinstance(step, AddMaps):
            ratio = np.array([scales.of(n) if n != ZERO else 0.0 for n in step.other]) / units
            made.append(AddScaled(step.other, fraction(ratio)))
        elif isinstance(step, Activate) and step.kind == "relu":
            made.append(Relu())
        elif isinstance(step, Activate) and step.kind == "clamp":
            low, high = (np.clip(np.rint(v / units), -32768, MOST).astype(int) for v in (step.low, step.high))
            made.append(Limit(low, high))
        else:
            raise ModelError(f"native: int16 has no {type(step).__name__.lower()} step; take fp32.")
    return made


def fraction(ratio: np.ndarray) -> np.ndarray:
    """Ratios up to 1 in units of 1/32768."""
    return np.clip(np.rint(ratio * 32768), 0, 32768).astype(int)
