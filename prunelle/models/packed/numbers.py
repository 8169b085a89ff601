"""A tensor as small codes and the numbers they stand for, bit for bit; +0 is always code 0.

plain: every element as it is, no codes. kept: code 1 for each element that is not 0, the elements in order.
book: the different values in rising order, code k for the k-th (weights that are shared).
grid: one scale a row (axis 0), code q + K for q * scale with q in -K ... K, q not 0 (int8 and its narrower kin).
Numbers are stored in the narrowest float type that holds each of them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.models.packed.small_matrix import CODE

BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
BITS |= {torch.float64: torch.int64}
"""Float types, and the integers of their size."""
DTYPES = {
    str(one).removeprefix("torch."): one
    for one in (*BITS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
}
KINDS = ("plain", "kept", "book", "grid")
MOST_VALUES = 256
MOST_STEPS = 127
FIRST_LOOK = 64
"""Numbers of a row that a guessed scale is tried on before all are."""


@dataclass(frozen=True)
class Coded:
    """codes: (rows, columns) int16, None where plain. num_codes: the largest there may be. numbers: (n,) float."""

    kind: str
    numbers: Tensor
    codes: np.ndarray | None = None
    num_codes: int = 0


def to_codes(tensor: Tensor) -> Coded:
    """The kind that is smallest, judged by the entropy of its codes."""
    tensor = tensor.detach().cpu().contiguous()
    flat = tensor.view(-1)
    plain = Coded("plain", flat)
    if tensor.dtype not in BITS or tensor.numel() < 2:
        return plain
    kept = flat.view(BITS[tensor.dtype]) != 0
    shape = shape_of(tuple(tensor.shape))
    found = [plain, Coded("kept", flat[kept], kept.short().view(shape).numpy(), 1)]
    if book := as_book(flat, kept, shape):
        found.append(book)
    if grid := as_grid(tensor.view(shape), kept.view(shape)):
        found.append(grid)
    return min(found, key=estimate)


def shape_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of a tensor read as a matrix: one axis is one row.

    >>> shape_of((8, 4, 3, 3)), shape_of((5,)), shape_of(())
    ((8, 36), (1, 5), (1, 1))
    """
    rows = shape[0] if len(shape) > 1 else 1
    count = 1
    for side in shape:
        count *= side
    return rows, count // rows if rows else 0


def as_book(flat: Tensor, kept: Tensor, shape: tuple[int, int]) -> Coded | None:
    """None above MOST_VALUES different values. They are told apart by their bits, so that -0 and NaN stay."""
    words = flat.view(BITS[flat.dtype])[kept]
    different = words.unique()
    if not 0 < len(different) <= MOST_VALUES:
        return None
    numbers = different.view(flat.dtype)
    order = numbers.double().nan_to_num(nan=torch.inf).argsort(stable=True)
    codes = torch.zeros(flat.numel(), dtype=torch.int64)
    codes[kept] = 1 + order.argsort()[torch.searchsorted(different, words)]
    return Coded("book", numbers[order], codes.short().view(shape).numpy(), len(different))


def as_grid(matrix: Tensor, kept: Tensor) -> Coded | None:
    """None where a row does not stand on a grid of at most MOST_STEPS steps either side, or for other types than
    float32."""
    if matrix.dtype != torch.float32 or not bool(matrix.isfinite().all()) or not bool(kept.any()):
        return None
    numbers, used = matrix.numpy(), kept.numpy()
    scales = np.zeros(len(numbers), dtype=np.float32)
    codes = np.zeros(numbers.shape, dtype=np.int64)
    ends = np.arange(1, MOST_STEPS + 1)
    first = ends
    for row in np.flatnonzero(used.any(1)):
        scale = grid_of(numbers[row], used[row], first)
        scale = grid_of(numbers[row], used[row], ends) if scale is None else scale
        if scale is None:
            return None
        scales[row], codes[row] = scale, np.rint(numbers[row] / scale)
        first = np.abs(codes[row]).max(keepdims=True)  # most rows end alike
    end = int(np.abs(codes).max())
    signed = np.where(used, np.where(codes > 0, codes + end, codes + end + 1), 0)
    return Coded("grid", torch.from_numpy(scales), signed.astype(CODE), 2 * end)


def grid_of(row: np.ndarray, used: np.ndarray, ends: np.ndarray) -> np.float32 | None:
    """The scale of which every number is a whole multiple, the largest one of `ends` times; guessed from the largest
    to the last bits. None where there is none."""
    guesses = (np.abs(row).max() / ends.astype(np.float32)).view(np.int32)[:, None] + np.array([0, 1, -1, 2, -2])
    guesses = guesses.ravel().clip(min=1).astype(np.int32).view(np.float32)
    few = row[used][:FIRST_LOOK]
    passing = (np.rint(few / guesses[:, None]) * guesses[:, None] == few).all(1)
    for guess in guesses[passing]:
        steps = np.rint(row / guess)
        if ((steps * guess == row) & ((steps != 0) == used)).all() and np.abs(steps).max() <= MOST_STEPS:
            return guess
    return None


def estimate(coded: Coded) -> float:
    """Bytes, about: numbers as stored and codes at their entropy."""
    numbers = len(coded.numbers) * narrowest(coded.numbers).itemsize
    if coded.codes is None:
        return numbers
    counts = np.bincount(coded.codes.ravel())
    shares = counts[counts > 0] / coded.codes.size
    return numbers + float(-(shares * np.log2(shares)).sum()) * coded.codes.size / 8


def narrowest(numbers: Tensor) -> torch.dtype:
    """The smallest float type that holds every number exactly, NaN's bits included; other types stay."""
    if numbers.dtype not in BITS:
        return numbers.dtype
    for narrow in (torch.float16, torch.bfloat16, torch.float32):
        if narrow.itemsize < numbers.dtype.itemsize:
            back = numbers.to(narrow).to(numbers.dtype).view(BITS[numbers.dtype])
            if torch.equal(back, numbers.view(BITS[numbers.dtype])):
                return narrow
    return numbers.dtype


def count_numbers(kind: str, codes: np.ndarray | None, num_codes: int, shape: tuple[int, int]) -> int:
    """How many numbers a tensor of this kind brings."""
    if codes is None:
        return shape[0] * shape[1]
    return {"kept": int(np.count_nonzero(codes)), "book": num_codes, "grid": shape[0]}[kind]


def from_codes(coded: Coded, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `to_codes`; numbers are of the tensor's own type. Raises CorruptFileError for a grid without
    sides or in other types than float32."""
    numbers = coded.numbers
    if coded.codes is None:
        return numbers.view(shape)
    codes = torch.from_numpy(coded.codes).int()
    if coded.kind == "grid":
        if numbers.dtype != torch.float32 or coded.num_codes % 2:
            raise CorruptFileError(
                f"packed file: a grid of {coded.num_codes} codes in {numbers.dtype} is none of ours."
            )
        end = coded.num_codes // 2
        steps = torch.where(codes > end, codes - end, codes - end - 1)
        full = torch.where(codes > 0, steps.float() * numbers[:, None], 0.0)
    elif coded.kind == "book":
        full = torch.cat([numbers.new_zeros(1), numbers])[codes]
    else:
        full = torch.zeros(codes.shape, dtype=numbers.dtype)
        full[codes > 0] = numbers
    return full.reshape(shape)
