"""Codes of matrices, learned bit by bit and in lanes."""

import numpy as np
import pytest

from prunelle.errors import CorruptFileError
from prunelle.models.packed import lanes, large_matrix
from prunelle.models.packed.coder import Reader, Writer
from prunelle.models.packed.small_matrix import CODE, code_, most_bits


def draw(rows: int, columns: int, share: float, num_codes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kept = rng.random((rows, columns)) < share
    return (kept * rng.integers(1, num_codes + 1, (rows, columns))).astype(CODE)


def small(codes: np.ndarray, num_codes: int, stride: int = 2) -> bytes:
    flow, given = Writer(), codes.copy()
    code_(flow, given, num_codes, stride, np.zeros(codes.shape[1], dtype=np.int64), 10**9)
    assert np.array_equal(given, codes)
    return flow.finish()


def back(raw: bytes, shape: tuple[int, int], num_codes: int, stride: int = 2, at_most: int = 10**9) -> np.ndarray:
    flow, found = Reader(raw), np.zeros(shape, dtype=CODE)
    code_(flow, found, num_codes, stride, np.zeros(shape[1], dtype=np.int64), at_most)
    flow.finish()
    return found


CASES = [(1, 1, 1.0, 1), (1, 40, 0.5, 3), (30, 40, 0.0, 5), (30, 40, 1.0, 256), (7, 90, 0.1, 16), (0, 0, 0.5, 2)]


@pytest.mark.parametrize(("rows", "columns", "share", "num_codes"), CASES)
@pytest.mark.parametrize("stride", [2, 9, 50])
def test_bit_by_bit_gives_back_what_was_written(rows, columns, share, num_codes, stride):
    codes = draw(rows, columns, share, num_codes)
    assert np.array_equal(back(small(codes, num_codes, stride), codes.shape, num_codes, stride), codes)


@pytest.mark.parametrize(("rows", "columns", "share", "num_codes"), [*CASES[:-1], (130, 140, 0.1, 255)])
def test_lanes_give_back_what_was_written(rows, columns, share, num_codes):
    codes = draw(rows, columns, share, num_codes)
    assert np.array_equal(large_matrix.decode(large_matrix.encode(codes, num_codes), rows, columns, num_codes), codes)


def test_nothing_kept_takes_next_to_nothing():
    assert len(small(np.zeros((300, 784), dtype=CODE), 16)) <= 8


def test_both_come_near_the_entropy_where_there_is_nothing_to_foretell():
    """10 % kept, 8 codes: 0.469 + 0.1 * 3 bits an element, 76.9 bits a hundred."""
    codes = draw(200, 500, 0.1, 8)
    entropy = 100_000 * 0.769 / 8
    assert len(small(codes, 8)) < 1.05 * entropy
    assert len(large_matrix.encode(codes, 8)) < 1.12 * entropy


def test_rows_and_columns_that_differ_are_cheaper_than_their_entropy():
    """Half of the columns and half of the rows of a mask of 8 % hold all of it: there it is 32 %, 0.904 bits an
    element of a quarter, against 0.402 of all."""
    codes = draw(200, 400, 0.32, 1)
    codes[::2], codes[:, ::2] = 0, 0
    assert len(small(codes, 1)) < 1.06 * 20_000 * 0.904 / 8 < 0.62 * 80_000 * 0.402 / 8


def test_what_the_layer_below_kept_helps():
    codes, level = draw(40, 300, 0.3, 1), np.repeat([9, 0], 150)
    codes[:, 150:] = draw(40, 150, 0.03, 1, seed=1)
    sizes = []
    for below in (level, np.zeros(300, dtype=np.int64)):
        flow = Writer()
        code_(flow, codes.copy(), 1, 2, below, 10**9)
        sizes.append(len(flow.finish()))
    assert sizes[0] < 0.97 * sizes[1]


def test_more_bits_than_allowed_are_refused_before_they_are_read():
    codes = draw(20, 20, 1.0, 16)
    raw, most = small(codes, 16), most_bits(codes, 16)
    assert most == 400 + 40 + 400 * 4
    assert np.array_equal(back(raw, (20, 20), 16, at_most=most), codes)
    with pytest.raises(CorruptFileError, match="more is kept than may be told"):
        back(raw, (20, 20), 16, at_most=most - 1)


def test_shares_add_up_and_leave_no_symbol_out():
    symbols = np.array([0] * 99_999 + [1], dtype=np.int64)
    tables = lanes.shares(symbols, np.zeros(100_000, dtype=np.int64), 3, 2)
    assert tables.tolist() == [[lanes.SCALE - 1, 1, 0], [0, 0, 0]]


def test_a_symbol_costs_its_share():
    """Four equal symbols take two bits each: 4,096 of them 1,024 bytes and the state."""
    symbols = np.arange(4096) % 4
    none = np.zeros(4096, dtype=np.uint8)
    raw = lanes.encode(symbols, none, lanes.shares(symbols, none, 4, 1))
    assert len(raw) == 1024 + 4


@pytest.mark.parametrize("change", ["cut", "longer", "flip", "table", "class", "length"])
def test_spoilt_lanes_are_refused(change):
    codes = draw(90, 100, 0.2, 4)
    raw = bytearray(large_matrix.encode(codes, 4))
    if change == "cut":
        raw = raw[:-2]
    elif change == "longer":
        raw += b"\0\0"
    elif change == "flip":
        raw[-40] ^= 4
    elif change == "length":
        raw[:4] = b"\xff\xff\xff\x7f"
    else:
        head, rest = large_matrix.split(bytes(raw))
        own = bytearray(large_matrix.inflate_exactly(head, 190 + 256 + 8))
        own[5 if change == "class" else 195] = 9
        raw = bytearray(large_matrix.with_length(large_matrix.deflate(bytes(own))) + rest)
    with pytest.raises(CorruptFileError, match=r"take a fresh copy|must be below 8"):
        large_matrix.decode(bytes(raw), 90, 100, 4)
