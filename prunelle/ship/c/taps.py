"""A convolution as a list of (channel, rows down, weight) for every output channel and horizontal offset.

Where the output is as large as the input and the stride is 1, the weights of one column of the kernel are summed apart
from the others', without moving any pixel, and the sums are moved sideways once at the end: every load stays aligned.
Elsewhere the needed pixels are first copied so that they lie as the output does: one channel for each (input channel,
column of the kernel, row modulo stride).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prunelle.ship.c.layout import Layout, layout_of
from prunelle.ship.c.ops import ZERO, Conv, Maps, Op, Program, Step


@dataclass(frozen=True)
class Copied:
    """One channel copied: pixel (y, x) of it is pixel (y * stride + row, x * stride + column) of `channel`."""

    channel: int
    row: int
    column: int


@dataclass(eq=False)
class Expand:
    """Copies channels so that they lie as a strided convolution's output does."""

    name: str
    copies: list[Copied]
    stride: tuple[int, int]
    out: Maps


@dataclass(eq=False)
class TapConv:
    """One row a weight that is not zero: taps (n, 4) int64 = output channel, column, input channel, rows down, in this
    order; weights (n,). Columns count from the first of `num_columns`, which lies first_column pixels to the right.
    dense_macs: of the whole kernel over all output pixels. inner: how the sums lie where `out` holds the largest of
    every 2 x 2 of them."""

    name: str
    taps: np.ndarray
    weights: np.ndarray
    first_column: int
    num_columns: int
    bias: np.ndarray
    out: Maps
    steps: list[Step] = field(default_factory=list)
    dense_macs: int = 0
    inner: Layout | None = None

    @property
    def sums(self) -> Layout:
        """How the sums lie."""
        return self.inner or self.out.layout

    @property
    def channels(self) -> list[int]:
        """The input channels that some weight reads."""
        return [int(n) for n in np.unique(self.taps[:, 2])]

    @property
    def macs(self) -> int:
        return len(self.taps) * self.sums.height * self.sums.width


@dataclass(eq=False)
class Windows:
    """A convolution with one kernel a channel, which reads pixels where they lie. x: input channels, one an output.
    weight: (out, rows, columns). bias: (out,)."""

    name: str
    x: list[int]
    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: Maps
    steps: list[Step] = field(default_factory=list)

    @property
    def dense_macs(self) -> int:
        return self.weight.size * self.out.layout.height * self.out.layout.width

    @property
    def macs(self) -> int:
        return int(np.count_nonzero(self.weight)) * self.out.layout.height * self.out.layout.width


Placed = Op | Expand | TapConv | Windows


def place_taps(program: Program, read: set[int], registers: int, windows: bool) -> list[Placed]:
    """The operations with every convolution as taps; its inputs get the rows beyond their edges that it looks at.

    read: channels that somebody reads; the taps of the others are left out. registers: vectors to sum in; a row that
    does not fit twice is copied instead of moved. windows: whether strided depthwise convolutions may be `Windows`.
    """
    ops: list[Placed] = []
    for op in program.ops:
        if isinstance(op, Conv):
            ops += as_taps(program, op, read, registers, windows)
        else:
            ops.append(op)
    return ops


def as_taps(program: Program, op: Conv, read: set[int], registers: int, windows: bool) -> list[Placed]:
    source = next((program.owner(n) for n in op.x if n != ZERO), None)
    inside, out = (source.layout if source is not None else op.out.layout), op.out.layout
    kept = (inside.height, inside.width) == (out.height, out.width) and op.stride == (1, 1)
    kept = kept and (op.weight.shape[3] == 1 or 2 * inside.vecs <= registers)
    found = None if kept or not windows else as_windows(op)
    if found is not None:
        return [found]
    channels, downs, rights, outputs, weights = nonzeros(op, read)
    dense = op.weight.size * out.height * out.width
    if kept:
        left = min(0, -op.pad[1])
        right = max(0, (op.weight.shape[3] - 1) * op.dilation[1] - op.pad[1])
        taps, order = ordered(outputs, rights - left, channels, downs)
        conv = TapConv(op.name, taps, weights[order], left, right - left + 1, op.bias, op.out, op.steps, dense)
        above, below = reach(downs)
        for number in conv.channels:
            owner = program.owner(number)
            owner.above, owner.below = max(owner.above, above), max(owner.below, below)
        return [conv]
    rows, downs = downs % op.stride[0], downs // op.stride[0]
    copies, place = np.unique(np.stack([channels, rows, rights], 1), axis=0, return_inverse=True)
    start = max(m.first + m.count for m in program.maps)
    taps, order = ordered(outputs, 0 * outputs, start + place.reshape(-1), downs)
    made = Maps(start, max(len(copies), 1), layout_of(out.height, out.width, out.lanes), *reach(downs))
    program.maps.append(made)
    conv = TapConv(op.name, taps, weights[order], 0, 1, op.bias, op.out, op.steps, dense)
    return [Expand(op.name, [Copied(*map(int, copy)) for copy in copies], op.stride, made), conv]


def as_windows(op: Conv) -> Windows | None:
    """A convolution in this form; None for one that mixes channels, is dilated, or has a stride above 2."""
    mixes = op.weight.shape[1] != 1 or op.groups == 1
    if mixes or op.dilation != (1, 1) or max(op.stride) > 2 or ZERO in op.x:
        return None
    per_group = len(op.weight) // op.groups
    x = [op.x[channel // per_group] for channel in range(len(op.weight))]
    return Windows(op.name, x, op.weight[:, 0], op.bias, op.stride, op.pad, op.out, op.steps)


def nonzeros(op: Conv, read: set[int]) -> tuple[np.ndarray, ...]:
    """For every weight that counts: input channel, rows down, columns right, output channel, value."""
    live = np.array([op.out.first + c in read for c in range(len(op.weight))])
    outputs, index, rows, columns = np.nonzero(op.weight * live[:, None, None, None])
    base = outputs // (len(op.weight) // op.groups) * op.weight.shape[1]
    channels = np.asarray(op.x)[base + index]
    found = channels != ZERO
    outputs, index, rows, columns, channels = (a[found] for a in (outputs, index, rows, columns, channels))
    downs, rights = rows * op.dilation[0] - op.pad[0], columns * op.dilation[1] - op.pad[1]
    return channels, downs, rights, outputs, op.weight[outputs, index, rows, columns]


def ordered(outputs: np.ndarray, columns: np.ndarray, channels: np.ndarray, downs: np.ndarray):  # type: ignore[no-untyped-def]
    """The rows of TapConv.taps, sorted, and the order that sorted them."""
    order = np.lexsort((downs, channels, columns, outputs))
    return np.stack([outputs, columns, channels, downs], 1)[order], order


def reach(downs: np.ndarray) -> tuple[int, int]:
    """Rows above and below the map that some weight looks at, at most."""
    return (max(0, -int(downs.min())), max(0, int(downs.max()))) if len(downs) else (0, 0)
