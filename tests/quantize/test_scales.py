import pytest
import torch
from torch import nn

from prunelle.quantize.grid import symmetric
from prunelle.quantize.layers import channel_axes, layers_of
from prunelle.quantize.scales import SHARES, by_error, by_largest, scale_of


def test_the_largest_value_is_the_end_of_the_grid():
    rows = torch.tensor([[0.7, -0.1], [0.0, -1.4]])
    torch.testing.assert_close(by_largest(rows, 4), torch.tensor([0.1, 0.2]))


def test_least_error_by_hand():
    # 2 bits: -s, 0, s. With s = 1 the errors are 0, 0, 0 and 1; with s = 2 they are 1, 1, 1 and 0.
    rows = torch.tensor([[1.0, 1.0, 1.0, 2.0]])
    scale = by_error(rows, 2)
    assert scale.item() == pytest.approx(1.24)  # the candidate next to the mean of the four, 1.25

    def error(s):
        return (symmetric(rows, torch.tensor(s), 2) - rows).square().sum().item()

    assert error(scale.item()) == min(error(2.0 * share) for share in SHARES)


@pytest.mark.parametrize("rule", [by_largest, by_error])
def test_values_that_stand_on_a_grid_keep_it(rule):
    torch.manual_seed(0)
    codes = torch.randint(-7, 8, (5, 40)).float()
    codes[:, 0] = 7
    values = codes * torch.tensor([0.5, 0.25, 1.0, 2.0, 0.125])[:, None]
    scale = rule(values, 4)
    assert torch.equal(symmetric(values, scale[:, None], 4), values)


@pytest.mark.parametrize("rule", [by_largest, by_error])
def test_a_channel_of_zeros_stays_zero(rule):
    values = torch.zeros(2, 3)
    assert torch.equal(symmetric(values, rule(values, 8)[:, None], 8), values)


@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 1, 1)), (1, (1, 2, 1)), (None, (1, 1, 1))])
def test_scales_broadcast_against_the_weight(axis, shape):
    weight = torch.randn(3, 2, 5)
    scale = scale_of(weight, 8, axis)
    assert scale.shape == shape
    dims = [one for one in range(3) if shape[one] == 1]
    torch.testing.assert_close(scale, weight.abs().amax(dims, keepdim=True) / 127)


def test_transposed_convolutions_have_their_output_channels_on_axis_1():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 3, 2), nn.Flatten(), nn.LSTM(2, 2))
    assert channel_axes(net) == {"0.weight": 0, "2.weight": 1, "4.weight_ih_l0": 0, "4.weight_hh_l0": 0}
    assert list(layers_of(net)) == ["0", "2"]
