"""What a network does, as a list of operations on channels. A channel is known by a number; 0 is a channel of zeros.

Concatenating, splitting, shuffling and padding channels only pass numbers on, so they cost nothing when the
network runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prunelle.ship.c.layout import Layout

ZERO = 0


@dataclass(eq=False)
class Maps:
    """A buffer of channels. first: the number of its first channel. above, below: rows beyond the edges that some
    reader looks at. offset: where channel 0's first row lies, in vectors (memory.py); stride: vectors a channel."""

    first: int
    count: int
    layout: Layout
    above: int = 0
    below: int = 0
    offset: int = -1

    @property
    def stride(self) -> int:
        return (self.layout.rows + self.above + self.below) * self.layout.vecs

    def place(self, channel: int) -> int:
        """Where the first row of channel number `channel` lies, in vectors."""
        return self.offset + (channel - self.first) * self.stride


@dataclass(eq=False)
class Vector:
    """A buffer of `count` floats, one after another. offset: in vectors (memory.py)."""

    count: int
    offset: int = -1


@dataclass(eq=False)
class Affine:
    """y = scale * x + shift, one of each a channel."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(eq=False)
class Activate:
    """kind: a function of prelude.py without its underscore; low, high: what clamp and leaky need."""

    kind: str
    low: float = 0.0
    high: float = 0.0


@dataclass(eq=False)
class AddMaps:
    """y = x + the channel of the same place."""

    other: list[int]


@dataclass(eq=False)
class MulMaps:
    other: list[int]


@dataclass(eq=False)
class Gate:
    """y = x * the number of the channel, from a vector (squeeze and excitation)."""

    vector: Vector


@dataclass(eq=False)
class JoinVector:
    """y = x + other or x * other, both vectors."""

    other: Vector
    kind: str


Step = Affine | Activate | AddMaps | MulMaps | Gate | JoinVector


@dataclass(eq=False)
class Load:
    """The image, (channels, height, width) floats, into a buffer."""

    name: str
    out: Maps


@dataclass(eq=False)
class LoadVector:
    """The image as one vector: what a Load and a Flatten together are."""

    name: str
    out: Vector


@dataclass(eq=False)
class Conv:
    """weight: (out, in / groups, rows, columns) float64. bias: (out,). pad: above and left."""

    name: str
    x: list[int]
    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    out: Maps
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class MapEach:
    """Steps on every pixel, one after another."""

    name: str
    x: list[int]
    out: Maps
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Pool:
    """kind: max or mean. count_pad: whether pixels of the padding count in a mean. What a window covers beyond the
    padding, below or to the right, never counts."""

    name: str
    kind: str
    x: list[int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    count_pad: bool
    out: Maps
    steps: list[Step] = field(default_factory=list)

    def counts(self, height: int, width: int) -> np.ndarray:
        """How many pixels of a (height, width) map each window's mean is taken over, (rows, columns)."""
        sides = []
        for axis, (size, length) in enumerate(((height, self.out.layout.height), (width, self.out.layout.width))):
            start = np.arange(length) * self.stride[axis] - self.pad[axis]
            end = np.minimum(start + self.kernel[axis], size + (self.pad[axis] if self.count_pad else 0))
            sides.append(end - (start if self.count_pad else np.maximum(start, 0)))
        return np.outer(*sides)


@dataclass(eq=False)
class Mean:
    """Of all pixels of a channel: one number a channel."""

    name: str
    x: list[int]
    out: Vector


@dataclass(eq=False)
class Flatten:
    """Channels, rows, columns one after another."""

    name: str
    x: list[int]
    out: Vector


@dataclass(eq=False)
class Linear:
    """weight: (out, in) float64. base: the value that most inputs have, which is skipped."""

    name: str
    x: Vector
    weight: np.ndarray
    bias: np.ndarray
    out: Vector
    steps: list[Step] = field(default_factory=list)
    base: float = 0.0


@dataclass(eq=False)
class VectorEach:
    """Steps on every number of a vector."""

    name: str
    x: Vector
    out: Vector
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Softmax:
    name: str
    x: Vector
    log: bool
    out: Vector


@dataclass(eq=False)
class Gather:
    """Pieces of vectors one after another: (vector, first, count)."""

    name: str
    pieces: list[tuple[Vector, int, int]]
    out: Vector


Op = Load | LoadVector | Conv | MapEach | Pool | Mean | Flatten | Linear | VectorEach | Softmax | Gather


@dataclass(eq=False)
class Program:
    """ops in the order they run; buffers: every Maps by its first channel's number is found through `owner`."""

    ops: list[Op]
    maps: list[Maps]
    output: Vector
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]

    def owner(self, channel: int) -> Maps:
        """The buffer that a channel lies in."""
        for one in self.maps:
            if one.first <= channel < one.first + one.count:
                return one
        raise AssertionError(f"no buffer holds channel {channel}")
