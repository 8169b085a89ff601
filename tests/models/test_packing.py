import math

import numpy as np
import pytest
import torch
from tiny import bits, same_bits

from prunelle.errors import CorruptFileError
from prunelle.models.packing import nonzero_bits, pack, scatter, unpack

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def sparse(shape, share=0.1, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < share, values, 0.0).to(dtype)


def there_and_back(tensors):
    stored, packed, aliases = pack(tensors)
    return unpack(stored, packed, aliases)


def test_by_hand():
    stored, packed, aliases = pack({"w": torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, -1.0]])})
    # little bit order: elements 1 and 5
    assert stored["bits:w"].tolist() == [0b100010] and stored["values:w"].tolist() == [2.0, -1.0]
    assert packed == {"w": [2, 3]} and aliases == {}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (9,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_every_bit_comes_back(share, shape, dtype):
    tensors = {"w": sparse(shape, share, dtype)}
    assert same_bits(there_and_back(tensors), tensors)


@pytest.mark.parametrize("dtype", FLOATS)
def test_minus_zero_nan_infinity_and_the_smallest_number_are_values(dtype):
    special = torch.zeros(100, dtype=dtype)
    special[:5] = torch.tensor([-0.0, math.nan, math.inf, -math.inf, torch.finfo(dtype).smallest_normal], dtype=dtype)
    special[5] = -special[1]
    stored, packed, _ = pack({"w": special})
    assert "w" in packed and stored["values:w"].numel() == 6
    assert bits(there_and_back({"w": special})["w"]) == bits(special)


def test_a_dense_tensor_keeps_its_plain_name():
    tensors = {"w": torch.ones(5), "count": torch.zeros(100, dtype=torch.int64), "flag": torch.tensor([True])}
    stored, packed, aliases = pack(tensors)
    assert same_bits(stored, tensors) and packed == {} and aliases == {}


def test_packing_is_done_only_where_it_is_smaller():
    for num_zeros in range(0, 65):
        tensor = torch.cat([torch.ones(64 - num_zeros), torch.zeros(num_zeros)])
        _, packed, _ = pack({"w": tensor})
        # 64 bits are 8 bytes, a value 4: it pays from 3 zeros on
        assert bool(packed) == (8 + 4 * (64 - num_zeros) < 4 * 64)


def test_ninety_percent_zeros_cost_a_tenth_and_one_bit_each():
    stored, _, _ = pack({"w": sparse((1000, 100))})
    size = sum(t.numel() * t.itemsize for t in stored.values())
    kept = stored["values:w"].numel()
    assert size == 100_000 // 8 + 4 * kept and size < 0.15 * 400_000


def test_shared_storage_is_stored_once():
    weight = torch.randn(4, 4)
    tensors = {"a": weight, "b": weight, "c": weight.clone(), "d": weight.t(), "e": weight[:2], "f": weight.view(16)}
    stored, packed, aliases = pack(tensors)
    assert aliases == {"b": "a"} and set(stored) == {"a", "c", "d", "e", "f"} and packed == {}
    assert same_bits(unpack(stored, packed, aliases), tensors)


def test_a_shared_sparse_tensor():
    weight = sparse((10, 10))
    tensors = {"a": weight, "b": weight}
    assert pack(tensors)[2] == {"b": "a"} and same_bits(there_and_back(tensors), tensors)


def test_empty_ones_are_never_shared():
    tensors = {"a": torch.empty(0, 3), "b": torch.empty(0, 3)}
    assert pack(tensors)[2] == {} and same_bits(there_and_back(tensors), tensors)


def test_other_strides_come_back_with_their_values():
    tensors = {"w": sparse((2, 3, 4, 4)).to(memory_format=torch.channels_last), "t": sparse((30, 20)).t()}
    assert same_bits(there_and_back(tensors), tensors)


def test_what_was_stored_does_not_follow_the_model():
    weight = torch.ones(3)
    stored, _, _ = pack({"w": weight})
    weight.zero_()
    assert stored["w"].tolist() == [1.0, 1.0, 1.0]


def test_types_without_a_rule_are_never_packed():
    assert nonzero_bits(torch.zeros(4, dtype=torch.int8)) is None
    assert nonzero_bits(torch.empty(0)) is None
    assert nonzero_bits(torch.tensor([0.0, -0.0, 1e-45])).tolist() == [False, True, True]


def test_refusals():
    stored, packed, _ = pack({"w": sparse((10, 10))})
    whole = stored["values:w"]
    for part in stored:
        rest = {name: t for name, t in stored.items() if name != part}
        with pytest.raises(CorruptFileError, match="the bits or values of w are missing"):
            unpack(rest, packed, {})
    for broken in (
        {**stored, "values:w": whole[:-1]},
        {**stored, "values:w": whole.view(1, -1)},
        {**stored, "bits:w": stored["bits:w"][:-1]},
        {**stored, "bits:w": stored["bits:w"].to(torch.int16)},
        {**stored, "bits:w": torch.from_numpy(np.zeros(13, np.uint8))},
    ):
        with pytest.raises(CorruptFileError, match=r"the bits of w do not fit its shape \[10, 10\] and its values"):
            unpack(broken, packed, {})
    with pytest.raises(CorruptFileError, match=r"model.json: b shares the storage of a, which is not stored"):
        unpack({}, {}, {"b": "a"})


def test_an_enormous_shape_is_refused_before_it_is_made():
    with pytest.raises(CorruptFileError, match="do not fit"):
        scatter("w", torch.zeros(1, dtype=torch.uint8), torch.empty(0), [2**40, 2**40])
