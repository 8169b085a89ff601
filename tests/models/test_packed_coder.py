import random

import pytest

from prunelle.errors import CorruptFileError
from prunelle.models.packed.coder import Reader, Writer
from prunelle.models.packed.mixing import Mixing, fresh_weights, squashed, stretched


def written(bits: list[int], likely: int) -> bytes:
    flow = Writer()
    for bit in bits:
        assert flow.bit(likely, bit) == bit
    return flow.finish()


def test_a_bit_of_probability_one_half_costs_one_bit():
    draw = random.Random(0)
    bits = [draw.randrange(2) for _ in range(8000)]
    assert 999 <= len(written(bits, 32768)) <= 1002


def test_a_likely_bit_costs_little():
    # 10,000 bits at 1/64: -log2(63/64) * 9,900 + 6 * 100 = 225 + 600 bits = 103 bytes.
    bits = ([0] * 99 + [1]) * 100
    assert 101 <= len(written(bits, 1024)) <= 106


def test_nothing_takes_no_bytes():
    assert Writer().finish() == b"" and written([1] * 3, 65535) == b""


@pytest.mark.parametrize("likely", [1, 16, 32768, 65520, 65535])
def test_what_was_written_is_read(likely):
    draw = random.Random(likely)
    bits = [int(draw.random() < likely / 65536) for _ in range(3000)] + [0, 1] * 50
    raw = written(bits, likely)
    flow = Reader(raw)
    assert [flow.bit(likely) for _ in bits] == bits
    flow.finish()


def test_bytes_that_nobody_read_are_refused():
    flow = Reader(written([1, 0] * 40, 32768) + b"more and more")
    for _ in range(80):
        flow.bit(32768)
    with pytest.raises(CorruptFileError, match="9 bytes are left behind the last weight"):
        flow.finish()


def test_the_tables_are_those_of_every_machine():
    assert [stretched()[i] for i in (0, 16384, 32768, 65535)] == [-3017, -281, 0, 3017]
    assert [squashed()[i] for i in (0, 2816, 3072, 3328, 6144)] == [16, 17625, 32768, 47911, 65520]
    assert sum(stretched()) == 0 and sum(squashed()) == 65536 * 6145 // 2


def test_mixing_learns_what_a_context_tells():
    """One context knows the bit, the others know nothing: 4,000 bits cost some hundred."""
    draw = random.Random(1)
    bits = [draw.randrange(2) for _ in range(4000)]
    noise = [draw.randrange(2) for _ in bits]
    contexts = [(bit, 2 + other, 4, 5) for bit, other in zip(bits, noise, strict=True)]
    flow, model, weights = Writer(), Mixing(6), fresh_weights(1)[0]
    for bit, context in zip(bits, contexts, strict=True):
        model.bit(flow, context, weights, bit)
    raw = flow.finish()
    assert len(raw) < 40
    flow, model, weights = Reader(raw), Mixing(6), fresh_weights(1)[0]
    assert [model.bit(flow, context, weights) for context in contexts] == bits
