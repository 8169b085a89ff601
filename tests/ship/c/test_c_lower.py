from collections.abc import Callable

import pytest
import torch
from many_networks import Case, errors, network, outputs
from torch import Tensor, nn
from torch.nn import functional as F

from prunelle.errors import ModelError
from prunelle.graph.trace import trace
from prunelle.ship.c.lower import lower
from prunelle.ship.c.ops import Conv, Flatten, Linear, Load, VectorEach


class Does(nn.Module):
    """A convolution of 8 channels, then any function of its output, its weights at hand as `self`."""

    def __init__(self, after: Callable[["Does", Tensor], Tensor], inputs: int = 3):
        super().__init__()
        self.conv, self.after = nn.Conv2d(inputs, 8, 3, padding=1), after
        self.vector, self.square = nn.Linear(8, 8), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(8)
        self.row = nn.Parameter(torch.ones(8))
        self.numbers = nn.Parameter(torch.linspace(-2, 2, 8).view(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self, self.conv(x))


def image(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def operations(net: nn.Module, x: Tensor) -> list[type]:
    return [type(op) for op in lower(net.eval(), trace(net.eval(), x), 16).ops]


def shuffled(net: Does, x: Tensor) -> Tensor:
    return net.square(x.view(1, 2, 4, 9, 11).transpose(1, 2).reshape(1, 8, 9, 11)) + x


def divided(net: Does, x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    a, b, c = torch.split(right, [1, 2, 1], dim=1)
    return torch.cat([F.relu(c), left, a * 2, b], dim=1)


def squeezed(net: Does, x: Tensor) -> Tensor:
    gate = net.norm(net.vector(x.mean((2, 3)))).view(1, 8, 1, 1)
    return x * torch.sigmoid(gate) + torch.sigmoid(F.conv2d(gate, net.square.weight, padding=1, groups=2)) * x


def with_constants(net: Does, x: Tensor) -> Tensor:
    return (3 - (x * net.numbers + 1) / 2) * (net.numbers + 5) - net.numbers


def option_a(net: Does, x: Tensor) -> Tensor:
    return F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)) + torch.cat([x, x], 1)[:, ::1, :5, :6])


def in_place(net: Does, x: Tensor) -> Tensor:
    y = F.relu(x, inplace=True)
    x += 1  # the same memory
    return x * y + net.square(x)


def vectors(net: Does, x: Tensor) -> Tensor:
    v = F.adaptive_avg_pool2d(x, 1).flatten(1)
    w = torch.tanh(net.vector(v))
    return torch.cat([v + w, v * w, torch.cat([w, v], 1)[:, :16]], dim=1)


def one_pixel(net: Does, x: Tensor) -> Tensor:
    small = F.adaptive_max_pool2d(x, 1)
    return net.square(F.max_pool2d(small, 1)).flatten(1).softmax(1).log_softmax(-1)


def windows_on_one_pixel(net: Does, x: Tensor) -> Tensor:
    small = F.adaptive_max_pool2d(x, 1) - 3  # below 0, so that a zero from beyond the edge shows
    found = F.max_pool2d(small, 3, 2, 1), F.max_pool2d(small, 2, ceil_mode=True), F.avg_pool2d(small, 2, ceil_mode=True)
    return torch.cat([*found, F.avg_pool2d(small, 3, 1, 1, count_include_pad=False)], 1).flatten(1)


def strided(net: Does, x: Tensor) -> Tensor:
    return F.avg_pool2d(x[:, :, ::2][:, :, :, ::3], 2, 1)


GRAPHS = (
    shuffled,
    divided,
    squeezed,
    with_constants,
    option_a,
    in_place,
    vectors,
    one_pixel,
    windows_on_one_pixel,
    strided,
)


@pytest.fixture(scope="module")
def graphs() -> list[Case]:
    torch.manual_seed(0)
    nets = [Does(after) for after in GRAPHS]
    for net in nets:
        net.norm.running_var.fill_(2.0)
    return [network(net, image(9, 11)) for net in nets]


@pytest.mark.parametrize("vector_bytes", (64, 16))
def test_graphs_of_all_kinds_are_what_pytorch_computes(graphs: list[Case], vector_bytes: int) -> None:
    for after, error in zip(
        GRAPHS, errors(graphs, vector_bytes, lambda index: vector_bytes // 16 + index), strict=True
    ):
        assert error <= 1e-6, after.__name__


def test_a_network_of_three_operators_by_hand() -> None:
    """2 x + 1 in a convolution of one weight, doubled by a constant, summed by a linear layer: 2 (1 + ... + 7)."""
    conv, linear = nn.Conv2d(1, 1, 1), nn.Linear(4, 1)
    with torch.no_grad():
        conv.weight.fill_(2.0), conv.bias.fill_(1.0), linear.weight.fill_(1.0), linear.bias.fill_(0.5)
    net = nn.Sequential(conv, nn.Flatten(), linear)
    x = torch.arange(4.0).view(1, 1, 2, 2)
    assert operations(net, x) == [Load, Conv, Flatten, Linear]
    assert outputs([network(net, x)])[0].tolist() == [1 + 3 + 5 + 7 + 0.5]


def test_dropout_and_identity_make_no_operation() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Identity(), nn.Linear(12, 2))
    assert operations(net, image(2, 2)) == [Load, Flatten, Linear]


def test_steps_on_vectors_are_operations_until_they_are_fused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.ReLU())
    assert operations(net, image(2, 2)) == [Load, Flatten, Linear, VectorEach]


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


REFUSED = {
    "has no rule for C": lambda net, x: torch.cumsum(x, 1),
    "works on an image, or along another axis": lambda net, x: x.softmax(1),
    "joins rows or columns": lambda net, x: torch.cat([x, x], 3),
    "moves rows or columns": lambda net, x: x.transpose(1, 3),
    "joins a constant of shape (8,)": lambda net, x: x + net.row,
    "joins an image and a vector": lambda net, x: x * x.mean((2, 3)).view(1, 1, 1, 8),
    "takes the mean over all axes": lambda net, x: x.mean().view(1),
    "writes into memory": lambda net, x: x.flatten(1).mul_(2).sum(1) + x.mean((1, 2, 3)),
    "reads the places that a pooling found": lambda net, x: F.adaptive_max_pool2d(x, 1, True)[1] + 1,
    "of two computed values has no rule": lambda net, x: x - F.relu(x),
    "makes an image of a vector": lambda net, x: F.conv2d(x.mean((2, 3), True), net.square.weight, padding=2, groups=2),
    "has an alpha": lambda net, x: torch.add(x, x, alpha=2),
    "pads with something else than zeros": lambda net, x: net.square(F.pad(x, (1, 1, 1, 1), value=2.0)),
    "pools a vector with its padding": lambda net, x: F.avg_pool2d(F.adaptive_max_pool2d(x, 1), 3, 1, 1),
    "makes 3 x 3 of 4 x 8": lambda net, x: F.adaptive_avg_pool2d(x, 3),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_has_no_rule_is_refused_by_name(words: str) -> None:
    net = Does(REFUSED[words])
    with pytest.raises(ModelError) as caught:
        operations(net, image(4, 8))
    assert words in str(caught.value) and str(caught.value).startswith("native: operator ")


def test_two_inputs_are_refused() -> None:
    net, x = TwoInputs(), image(4, 4)
    with pytest.raises(ModelError, match="TwoInputs has 2 inputs and 1 outputs, the C file takes one image"):
        lower(net, trace(net, (x, x)), 16)
