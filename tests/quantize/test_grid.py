import pytest
import torch

from prunelle.errors import SettingError
from prunelle.quantize.grid import affine, check_bits, largest_code, symmetric


def test_symmetric_codes_by_hand():
    values, scale = torch.tensor([0.0, -0.0, 0.1, 0.3, -1.0, 100.0]), torch.tensor(0.25)
    found = symmetric(values, scale, bits=4)
    assert found.tolist() == [0.0, 0.0, 0.0, 0.25, -1.0, 1.75]  # 7 * 0.25 at the end
    assert not torch.signbit(found[:3]).any()


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_grid_has_as_many_numbers_as_its_bits_allow_and_its_own_stay(bits):
    scale = torch.tensor(0.1)
    codes = torch.arange(-200.0, 201.0)
    found = symmetric(codes * 0.1, scale, bits)
    assert len(found.unique()) == 2**bits - 1 == 2 * largest_code(bits) + 1
    assert torch.equal(symmetric(found, scale, bits), found)


def slow_affine(value: float, low: float, high: float, bits: int) -> float:
    """The nearest of the numbers themselves."""
    levels = 2**bits - 1
    scale = (high - low) / levels
    zero = round(-low / scale)
    numbers = [(code - zero) * scale for code in range(levels + 1)]
    return min(numbers, key=lambda number: abs(number - value))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 3.0), (-3.0, 0.0), (-0.01, 5.0)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_affine_agrees_with_the_nearest_number(low, high, bits):
    values = torch.linspace(low - 1, high + 1, 97, dtype=torch.float64)
    bounds = torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)
    found = affine(values, *bounds, bits)
    step = (high - low) / (2**bits - 1)
    for value, got in zip(values.tolist(), found.tolist(), strict=True):
        wanted = slow_affine(min(max(value, low), high), low, high, bits)
        assert got == pytest.approx(wanted, abs=1e-9) or abs(abs(got - wanted) - step) < 1e-9  # a tie
    assert affine(torch.zeros(1, dtype=torch.float64), *bounds, bits).item() == 0.0


def test_a_range_that_leaves_0_out_is_widened():
    found = affine(torch.tensor([0.0, 2.0, 3.0]), torch.tensor(2.0), torch.tensor(3.0), bits=2)
    assert found.tolist() == [0.0, 2.0, 3.0]


def test_a_range_of_nothing_gives_0():
    assert affine(torch.tensor([0.0, 5.0, -1.0]), torch.tensor(0.0), torch.tensor(0.0), bits=8).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", [1, 9, 0])
def test_other_bits_are_refused(bits):
    with pytest.raises(SettingError, match=rf"^here: bits is {bits}, must be 2 to 8; for more, leave"):
        check_bits(bits, "here")
