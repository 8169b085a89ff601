"""One large matrix of codes, few of them not 0, by tables instead of learning: rows and columns are sorted into classes
by how much of them is kept, and the classes are written first.

u32 length of the head | head, deflated: class of each row, of each column (uint8), shares of kept ones by both (64 x 2
uint16), shares of the codes (uint16) | u32 length of the places | places | codes. Streams are those of lanes.py.
"""

from __future__ import annotations

import numpy as np

from prunelle.errors import CorruptFileError
from prunelle.models.packed import lanes
from prunelle.models.packed.deflated import deflate, inflate_exactly
from prunelle.models.packed.small_matrix import CODE

CLASSES = 8
LENGTH = 4


def encode(codes: np.ndarray, num_codes: int) -> bytes:
    """codes: (rows, columns) int16, 0 = not kept, else 1 ... num_codes."""
    kept = (codes != 0).astype(np.uint8)
    rows, columns = classes(kept.mean(1)), classes(kept.mean(0))
    contexts = contexts_of(rows, columns)
    flat, values = kept.ravel(), codes.ravel()[kept.ravel() > 0].astype(np.int64) - 1
    place_tables = lanes.shares(flat, contexts, 2, CLASSES**2)
    none = np.zeros(len(values), dtype=np.uint8)
    code_tables = lanes.shares(values, none, num_codes, 1)
    head = deflate(b"".join(part.tobytes() for part in (rows, columns, place_tables, code_tables)))
    places = lanes.encode(flat, contexts, place_tables)
    last = lanes.encode(values, none, code_tables) if num_codes > 1 else b""
    return with_length(head) + with_length(places) + last


def decode(raw: bytes, num_rows: int, num_columns: int, num_codes: int) -> np.ndarray:
    """(num_rows, num_columns) int16 codes. Raises CorruptFileError."""
    packed, rest = split(raw)
    places, last = split(rest)
    bytes_of_places = CLASSES**2 * 2 * lanes.WORD.itemsize
    lines = num_rows + num_columns
    head = inflate_exactly(packed, lines + bytes_of_places + num_codes * lanes.WORD.itemsize)
    of_line = np.frombuffer(head, np.uint8, lines)
    if lines and of_line.max() >= CLASSES:
        raise CorruptFileError(f"packed file: a row is of class {of_line.max()}, must be below {CLASSES}.")
    place_tables = np.frombuffer(head, lanes.WORD, CLASSES**2 * 2, lines).reshape(-1, 2)
    code_tables = np.frombuffer(head, lanes.WORD, offset=lines + bytes_of_places).reshape(1, -1)
    kept = lanes.decode(places, contexts_of(of_line[:num_rows], of_line[num_rows:]), place_tables)
    kept = kept.astype(CODE)
    if num_codes > 1:
        found = lanes.decode(last, np.zeros(int(kept.sum()), dtype=np.uint8), code_tables)
        kept[kept > 0] = found.astype(CODE) + 1
    elif last:
        raise CorruptFileError(f"packed file: {len(last)} bytes are left behind the last weight.")
    return kept.reshape(num_rows, num_columns)


def classes(shares: np.ndarray) -> np.ndarray:
    """(lines,) uint8: 0 where nothing is kept, else 1 to 7: how the share compares with the mean, in factors of 1.5."""
    usual = max(float(shares.mean()), 1e-9)
    with np.errstate(divide="ignore"):
        found = np.clip(np.rint(np.log(shares / usual) / np.log(1.5)) + 4, 1, CLASSES - 1)
    return np.where(shares > 0, found, 0).astype(np.uint8)


def contexts_of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(rows * columns,) uint8: which table tells whether an element is kept."""
    return (rows[:, None] * np.uint8(CLASSES) + columns[None, :]).ravel()


def with_length(raw: bytes) -> bytes:
    return len(raw).to_bytes(LENGTH, "little") + raw


def split(raw: bytes) -> tuple[bytes, bytes]:
    """(the part whose length stands first, the rest). Raises CorruptFileError."""
    size = int.from_bytes(raw[:LENGTH], "little")
    if len(raw) < LENGTH + size:
        raise CorruptFileError("packed file: a part is longer than the file; take a fresh copy.")
    return raw[LENGTH : LENGTH + size], raw[LENGTH + size :]
