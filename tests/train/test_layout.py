import pytest
import torch
from tiny import SHAPE, conv_net, mlp, same_bits, state_of
from torch import nn

from prunelle.train.layout import best_layout

pytestmark = pytest.mark.usefixtures("one_thread")


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.conv(x).view(len(x), -1)


@pytest.mark.parametrize(
    ("net", "expected"),
    [(mlp, torch.contiguous_format), (conv_net, torch.channels_last), (Views, torch.contiguous_format)],
)
def test_only_networks_of_convolutions_that_run_so(net, expected):
    model = net().eval()
    before = state_of(model)
    assert best_layout(model, SHAPE) == expected
    assert same_bits(state_of(model), before) and not model.training
    assert all(p.grad is None for p in model.parameters())


def test_a_shape_that_does_not_fit_is_left_for_training_to_tell():
    assert best_layout(conv_net(), (5, 3, 3)) == torch.contiguous_format


def test_float64_is_tried_in_float64():
    assert best_layout(conv_net().double(), SHAPE) == torch.channels_last
