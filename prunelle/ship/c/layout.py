"""Where the pixels of one channel lie in vectors: no padding between rows, every load aligned.

A row wider than a vector takes several whole vectors. Narrower rows share one: with 16 lanes an 8 x 8 map is 4 vectors,
of which vector r holds row r in its lower and row r + 4 in its upper half. So a step down is the next vector whatever
the width, and the vector above the first is the last one moved up by one group.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """One channel of height x width pixels. lanes: numbers in a vector. span: lanes of one row's group (a power of two
    up to lanes). groups: rows that share a vector. rows: vectors one below the other. vecs: vectors side by side."""

    height: int
    width: int
    lanes: int
    span: int
    groups: int
    rows: int
    vecs: int

    @property
    def num_vectors(self) -> int:
        return self.rows * self.vecs

    @property
    def full(self) -> bool:
        """Whether every lane holds a pixel."""
        return self.num_vectors * self.lanes == self.height * self.width

    def place(self, row: int, column: int) -> int:
        """Where a pixel lies, in numbers from the first one's."""
        return (row % self.rows) * self.vecs * self.lanes + (row // self.rows) * self.span + column


def layout_of(height: int, width: int, lanes: int) -> Layout:
    """The one layout that maps of this size have.

    >>> layout_of(8, 8, 16).num_vectors, layout_of(7, 7, 16).rows, layout_of(32, 32, 16).vecs
    (4, 4, 2)
    """
    if width > lanes:
        return Layout(height, width, lanes, lanes, 1, height, -(-width // lanes))
    span = 1 << (width - 1).bit_length()
    groups = lanes // span
    return Layout(height, width, lanes, span, groups, -(-height // groups), 1)


def valid_lanes(layout: Layout, vector: int) -> list[bool]:
    """Which lanes of a vector hold pixels."""
    row, side = divmod(vector, layout.vecs)
    found = []
    for lane in range(layout.lanes):
        group, column = divmod(lane, layout.span)
        inside = group * layout.rows + row < layout.height
        found.append(inside and side * layout.lanes + column < layout.width)
    return found
