"""One matrix of codes, few of them not 0, as a stream of bits: where they stand, then which they are.

Rows and columns of a pruned network differ: a border pixel of MNIST is never read, a hidden unit is hardly used. So
whether a weight is kept is foretold by its column, its row, its five neighbours before it and what the layer below
kept of the unit that the column reads. Rows and columns without any are told first.
A code is told by its bits, highest first: of all codes sorted by value the first bit is all but the sign.
Source of the mixing: see mixing.py; that positions are cheaper by row and column is our own measurement.
"""

from __future__ import annotations

import numpy as np

from prunelle.errors import CorruptFileError
from prunelle.models.packed.coder import Flow
from prunelle.models.packed.mixing import Mixing, fresh_weights

HALF = 32768
NEAR = 32
MOST_CODES = 256
CODE = np.int16
LEVELS = 24
"""How many sizes of a row the layer above may see: bit lengths of counts."""


def code_(flow: Flow, codes: np.ndarray, num_codes: int, stride: int, below: np.ndarray, at_most: int) -> None:
    """Write `codes` to the flow, or read them from it: then they come as zeros and are filled in.

    codes: (rows, columns) int16, 0 = not kept, else 1 ... num_codes. stride: from a column to the one above it where
    columns are an image's pixels or a kernel's places, at least 2. below: (columns,) int64 in [0, LEVELS): how much of
    what a column reads was kept by the layer before. at_most: how many bits may be told, see `most_bits`.
    Raises CorruptFileError for more.
    """
    rows = lines_(flow, (codes != 0).sum(1) > 0)
    columns = lines_(flow, (codes != 0).sum(0) > 0)
    if rows.size and columns.size:
        places_(flow, codes, rows, columns, stride, below)
        if most_bits(codes, num_codes) > at_most:
            raise CorruptFileError("packed file: more is kept than may be told bit by bit; take a fresh copy.")
        if num_codes > 1:
            values_(flow, codes, num_codes, stride)


def most_bits(codes: np.ndarray, num_codes: int) -> int:
    """How many bits `code_` tells at most."""
    return codes.size + sum(codes.shape) + int(np.count_nonzero(codes)) * max(num_codes - 1, 0).bit_length()


def lines_(flow: Flow, used: np.ndarray) -> np.ndarray:
    """Which rows or columns hold anything: their numbers. used: (lines,) bool, not looked at when reading."""
    model, weights = Mixing(8), fresh_weights(1)[0]
    found, before = [], 0
    for line, wanted in enumerate(used.tolist()):
        bit = model.bit(flow, (0, 1 + (before & 1), 3 + (before & 3), 7), weights, wanted)
        before = before << 1 | bit
        if bit:
            found.append(line)
    return np.array(found, dtype=np.int64)


def places_(
    flow: Flow, codes: np.ndarray, rows: np.ndarray, columns: np.ndarray, stride: int, below: np.ndarray
) -> None:
    """Whether each element of the used rows and columns is kept; reading sets those to 1."""
    num_rows, num_columns = codes.shape
    level = level_(flow, np.count_nonzero(codes) / (rows.size * columns.size))
    model = Mixing(num_columns + num_rows + NEAR + LEVELS, 2 * HALF >> level)
    weights = fresh_weights(1)[0]
    first_near = num_columns + num_rows
    first_below = first_near + NEAR
    pad = stride + 1
    own = [
        (column, column + pad, first_below + level)
        for column, level in zip(columns.tolist(), below[columns].tolist(), strict=True)
    ]
    bit = model.bit
    for row in rows.tolist():
        line = [0] * pad + codes[row].tolist()
        for column, at, third in own:
            near = (
                (1 if line[at - 1] else 0)
                | (2 if line[at - 2] else 0)
                | (4 if line[at - stride] else 0)
                | (8 if line[at - stride - 1] else 0)
                | (16 if line[at - stride + 1] else 0)
            )
            wanted = 1 if line[at] else 0
            found = bit(flow, (column, num_columns + row, first_near + near, third), weights, wanted)
            if found != wanted:
                line[at] = found
                codes[row, column] = found


def level_(flow: Flow, share: float) -> int:
    """The share of kept elements as a power of 1/2 between 2**-1 and 2**-12, told in 4 bits."""
    level = 1
    while level < 12 and share < 0.75 / (1 << level):
        level += 1
    found = 0
    for place in range(3, -1, -1):
        found |= flow.bit(HALF, level >> place & 1) << place
    return min(max(found, 1), 12)


def values_(flow: Flow, codes: np.ndarray, num_codes: int, stride: int) -> None:
    """Which code each kept element has. Foretold by the signs of its column's last one, of its row's last two and of
    its neighbours."""
    bits = (num_codes - 1).bit_length()
    nodes = 1 << bits
    model, weights = Mixing(nodes * 40), fresh_weights(nodes)
    in_column = [0] * codes.shape[1]
    middle = num_codes / 2
    for row in range(codes.shape[0]):
        kept = np.flatnonzero(codes[row])
        signs = [0] * (codes.shape[1] + stride + 2)
        last = 0
        for column, code in zip(kept.tolist(), codes[row, kept].tolist(), strict=True):
            at = column + stride + 1
            third = 4 + last
            fourth = 13 + signs[at - 1] * 9 + signs[at - stride] * 3 + signs[at - stride + 1]
            starts = (0, (1 + in_column[column]) * nodes, third * nodes, fourth * nodes)
            found = value_(flow, model, weights, starts, code - 1, bits)
            found = min(found, num_codes - 1)
            codes[row, column] = found + 1
            sign = 1 if found < middle else 2
            in_column[column] = signs[at] = sign
            last = last % 3 * 3 + sign


def value_(
    flow: Flow, model: Mixing, weights: list[list[int]], starts: tuple[int, int, int, int], code: int, bits: int
) -> int:
    """A number below 2**bits, highest bit first; what came before is the node of a tree."""
    a, b, c, d = starts
    node = 1
    for place in range(bits - 1, -1, -1):
        contexts = (a + node, b + node, c + node, d + node)
        node = node << 1 | model.bit(flow, contexts, weights[node], code >> place & 1)
    return node - (1 << bits)
