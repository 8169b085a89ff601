import math

import numpy as np
import pytest
import torch
from tiny import bits

from prunelle.errors import CorruptFileError
from prunelle.models.packed.numbers import Coded, from_codes, narrowest, to_codes


def same(tensor: torch.Tensor) -> Coded:
    """The tensor's codes, which were seen to give it back bit for bit."""
    coded = to_codes(tensor)
    found = from_codes(coded, tuple(tensor.shape))
    assert found.dtype == tensor.dtype and found.shape == tensor.shape and bits(found) == bits(tensor)
    return coded


def test_shared_values_become_a_book():
    tensor = torch.tensor([[0.5, 0.0, -2.0], [0.0, 0.5, 0.3]]).repeat(50, 50)
    coded = same(tensor)
    assert (coded.kind, coded.num_codes, coded.numbers.tolist()) == ("book", 3, [-2.0, tensor[1, 2], 0.5])
    assert coded.codes[:2, :3].tolist() == [[3, 0, 1], [0, 3, 2]]


def test_numbers_that_all_differ_stay_plain():
    coded = same(torch.linspace(0.1, 9.7, 700).view(7, 100))
    assert coded.kind == "plain" and coded.codes is None and len(coded.numbers) == 700


def test_few_numbers_that_all_differ_are_kept_in_order():
    tensor = torch.zeros(100, 100)
    tensor.view(-1)[::5] = torch.arange(2000) / 7 + 0.1
    coded = same(tensor)
    assert coded.kind == "kept" and coded.num_codes == 1 and torch.equal(coded.numbers, tensor[tensor != 0])


@pytest.mark.parametrize("bits_", [8, 4, 3, 2])
def test_rows_with_a_scale_each_become_a_grid(bits_):
    end = 2 ** (bits_ - 1) - 1
    steps = torch.randint(-end, end + 1, (40, 300), generator=torch.Generator().manual_seed(bits_)).float()
    steps[:, 0], steps[3] = end, 0.0
    scales = torch.rand(40, generator=torch.Generator().manual_seed(1)) / 300 + 1e-3
    coded = same(steps * scales[:, None] + 0.0)
    assert (coded.kind, coded.num_codes) == ("grid", 2 * end)
    scales[3] = 0.0
    assert torch.equal(coded.numbers, scales)


def test_a_grid_is_told_from_numbers_beside_it():
    tensor = torch.randint(-127, 128, (30, 300)).float() * 0.01
    tensor[4, 7] += 1e-6
    assert same(tensor).kind != "grid"


def test_every_bit_stays():
    odd = torch.tensor([[0.0, -0.0, math.nan, math.inf], [-math.inf, 1e-45, -1e-45, 3.4e38]])
    same(odd)
    same(odd.repeat(90, 1))
    noisy = torch.tensor([0x7FC00001, 0x7F800001, -0x400000], dtype=torch.int32).view(torch.float32)
    same(noisy.repeat(40).view(3, 40))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type(dtype):
    tensor = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).to(dtype)
    same(tensor)
    same(tensor * (tensor > 1))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(5),
        torch.tensor([True, False, True]),
        torch.arange(6).view(2, 3),
        torch.empty(0),
        torch.zeros(3, 0),
        torch.zeros(4, 5),
        torch.tensor(0.5),
    ],
)
def test_what_is_no_matrix_of_floats(tensor):
    same(tensor)


def test_zeros_have_nothing_to_tell():
    coded = same(torch.zeros(300, 784))
    assert len(coded.numbers) == 0 and not coded.codes.any()


def test_the_narrowest_type_that_is_exact():
    assert narrowest(torch.tensor([0.5, -3.0, 2.0**-24])) == torch.float16
    assert narrowest(torch.tensor([0.5, 2.0**100])) == torch.bfloat16
    assert narrowest(torch.tensor([0.1])) == torch.float32
    assert narrowest(torch.tensor([0.1], dtype=torch.float64)) == torch.float64
    assert narrowest(torch.arange(3)) == torch.int64
    assert narrowest(torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)) == torch.float32


def test_a_grid_of_other_types_is_refused():
    with pytest.raises(CorruptFileError, match="a grid of 3 codes"):
        from_codes(Coded("grid", torch.ones(2), np.zeros((2, 2), dtype=np.int16), 3), (2, 2))
