import pytest
import torch
from many_networks import Case, errors, network, outputs
from torch import Tensor, nn

from prunelle.ship.c.fuse import KEEP_ZERO

ACTIVATIONS = {
    "relu": nn.ReLU(), "sigmoid": nn.Sigmoid(), "silu": nn.SiLU(), "tanh": nn.Tanh(), "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"), "leaky": nn.LeakyReLU(0.1),
    "relu6": nn.ReLU6(), "hardtanh": nn.Hardtanh(-0.3, 2.7),
}  # fmt: skip


def wide(*shape: int) -> Tensor:
    """Numbers from -100 to 100, most of them near 0, and the places where activations bend."""
    x = torch.linspace(-1, 1, int(torch.Size(shape).numel())) ** 5 * 100
    x[:9] = torch.tensor([0.0, -0.0, 3.0, -3.0, 6.0, 2.7, -0.3, 1e-8, -1e-8])
    return x.view(1, *shape)


@pytest.mark.parametrize("vector_bytes", (64, 32, 16))
def test_every_activation_on_maps_and_on_vectors(vector_bytes: int) -> None:
    cases = [network(module, wide(3, 7, 19)) for module in ACTIVATIONS.values()]
    vectors = [network(nn.Sequential(nn.Flatten(), module), wide(3, 7, 5)) for module in ACTIVATIONS.values()]
    found = errors([*cases, *vectors], vector_bytes)
    for name, error in zip([*ACTIVATIONS, *ACTIVATIONS], found, strict=True):
        assert error <= 1e-6, name


def test_activations_that_keep_zero_do() -> None:
    for name, module in ACTIVATIONS.items():
        zero = outputs([network(module, torch.zeros(1, 1, 2, 2))])[0] if name in KEEP_ZERO else torch.zeros(1)
        assert not zero.any(), name


class Both(nn.Module):
    """A convolution's output as a mean, as it is, and doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.cat([y.mean((2, 3)), y.flatten(1), (y + y).flatten(1)], 1)


@pytest.mark.parametrize("size", ((1, 5), (5, 1), (3, 3), (8, 8), (7, 9), (2, 40)))
def test_means_and_flattening_keep_the_order(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    cases = [network(Both(), torch.randn(1, 2, *size))]
    assert [errors(cases, width)[0] <= 1e-6 for width in (64, 16)] == [True, True]


def test_a_mean_by_hand() -> None:
    """The mean of 1, 2, 3, 6 is 3, whatever lies in the lanes beside."""
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).view(1, 1, 2, 2)
    assert outputs([network(nn.AdaptiveAvgPool2d(1), x)])[0].tolist() == [[[3.0]]]


def test_an_image_flattened_is_the_image() -> None:
    x = torch.randn(1, 3, 5, 6)
    assert torch.equal(outputs([network(nn.Flatten(), x)])[0], x.flatten())


def test_a_channel_of_zeros_is_zero_behind_every_step() -> None:
    """A convolution whose weights and biases are zero, pooled, summed and shifted: only the shift is left."""
    conv, norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
    with torch.no_grad():
        conv.weight.zero_(), conv.bias.zero_(), norm.bias.fill_(0.25)
    net: list[nn.Module] = [conv, nn.MaxPool2d(2), nn.ReLU(), norm]
    cases: list[Case] = [network(nn.Sequential(*net), torch.randn(1, 2, 6, 6))]
    assert outputs(cases)[0].unique().tolist() == [0.25]
