"""What is known of a tensor in the graph: the labels on every axis, and what stands at an index once it is removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prunelle.graph.ties import FIXED, Labels

At = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """labels: (n,). at: (n,) the value everywhere at that index once it is masked; NaN where that is not one known
    number."""

    labels: Labels
    at: At

    @property
    def free(self) -> bool:
        """Whether any index may go."""
        return bool((self.labels != FIXED).any())

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: slice | NDArray[np.int64]) -> Axis:
        """The axis after a slice, or with these indices."""
        return Axis(self.labels[where], self.at[where])

    def holds(self, at: At | float) -> Axis:
        """The same labels with other values at what is removed."""
        return Axis(self.labels, np.broadcast_to(np.asarray(at, dtype=np.float64), self.labels.shape))


def fixed(size: int) -> Axis:
    """An axis of which nothing may go."""
    return Axis(np.zeros(size, dtype=np.int64), np.full(size, np.nan))


@dataclass(frozen=True)
class Value:
    """A tensor. axes: one per axis. tensor: the name of the parameter or buffer that it is; '' for a computed one.
    made_of: the parameters and buffers that it was computed from; None when the model's input went in too."""

    axes: tuple[Axis, ...]
    tensor: str = ""
    made_of: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    @property
    def free(self) -> bool:
        return any(axis.free for axis in self.axes)

    def with_axis(self, which: int, axis: Axis) -> Value:
        """A computed value in which one axis differs."""
        axes = list(self.axes)
        axes[which] = axis
        return replace(self, axes=tuple(axes), tensor="")


def value_of(axes: Iterable[Axis], sources: Sequence[Value] = ()) -> Value:
    """A computed value. sources: what it was computed from; made of parameters alone if they are, and of no input if
    there are none."""
    names: list[str] = []
    for source in sources:
        if source.made_of is None:
            return Value(tuple(axes))
        names += source.made_of
    return Value(tuple(axes), "", tuple(dict.fromkeys(names)))


def fixed_value(shape: Iterable[int], sources: Sequence[Value] = ()) -> Value:
    """A tensor of which nothing may go."""
    return value_of([fixed(size) for size in shape], sources)


def agree(values: Sequence[At]) -> At:
    """(n,) arrays -> where all have the same number that number, elsewhere NaN."""
    first = values[0]
    same = np.all([v == first for v in values], axis=0)  # NaN equals nothing
    return np.where(same, first, np.nan)
