"""The largest of 2 x 2 taken from a convolution's sums, and maps loaded and flattened whole, change no number."""

import numpy as np
import pytest
import torch
from many_networks import Case, errors, network, outputs, plan_of
from torch import Tensor, nn

from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import Activate, Affine, Maps, Pool
from prunelle.ship.c.pairs import all_rows, in_pairs, keeps_order, picked, pixel_pair, unit_of
from prunelle.ship.c.taps import TapConv


def pool_of(kernel: int = 2, pad: int = 0, size: int = 4) -> Pool:
    return Pool("", "max", [1], (kernel, kernel), (2, 2), (pad, pad), True, Maps(2, 1, layout_of(size, size, 16)))


def test_where_windows_lie_by_hand() -> None:
    """8 x 8 in vectors of 16 holds rows 0 and 4, 1 and 5, ...: window (1, 2) begins in row 2, vector 2, column 4;
    window (2, 0) in row 4, upper half of vector 0."""
    source, out = layout_of(8, 8, 16), layout_of(4, 4, 16)
    assert pixel_pair(source, out, 0, 0, 6) == (2, 4)
    assert pixel_pair(source, out, 0, 0, 8) == (0, 8)
    assert pixel_pair(source, layout_of(3, 4, 16), 0, 0, 12) is None
    assert (unit_of(source, out), all_rows(source, out)) == (4, False)
    wide = layout_of(24, 24, 16), layout_of(12, 12, 16)
    assert (unit_of(*wide), all_rows(*wide)) == (4, True)


def test_numbers_are_picked_from_one_vector_or_two_by_hand() -> None:
    assert picked([(0, 0), (0, 2), None, None], 1, 4) == "MOVE(m0, m0, 1, 3, 0, 0)"
    assert picked([(0, 0), (0, 2), (5, 0), (5, 2)], 0, 4) == "MOVE(m0, m5, 0, 2, 4, 6)"


def test_windows_that_lie_otherwise_are_not_taken_in_pairs() -> None:
    assert in_pairs(pool_of(), layout_of(8, 8, 16))
    assert not in_pairs(pool_of(kernel=3), layout_of(8, 8, 16))
    assert not in_pairs(pool_of(pad=1), layout_of(8, 8, 16))
    assert not in_pairs(pool_of(size=3), layout_of(6, 6, 16))  # three rows of vectors


def test_only_steps_that_keep_the_order_come_after() -> None:
    assert keeps_order([Activate("relu"), Activate("clamp", 0, 6)])
    assert not keeps_order([Activate("gelu")])
    assert not keeps_order([Affine(np.array([-1.0]), np.array([0.0]))])


def convs(net: nn.Module, image: Tensor, vector_bytes: int = 64) -> tuple[list[TapConv], int]:
    """The convolutions as they are written, and how many pools are left."""
    ops = plan_of(network(net, image), vector_bytes).ops
    return [op for op in ops if isinstance(op, TapConv)], sum(isinstance(op, Pool) for op in ops)


def test_a_convolution_takes_the_pool_behind_it() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 5), nn.ReLU(), nn.MaxPool2d(2))
    found, pools = convs(net, torch.randn(1, 1, 28, 28))
    assert pools == 0 and [(op.sums.width, op.out.layout.width) for op in found] == [(24, 12), (8, 4)]
    assert found[0].macs == 2 * 25 * 24 * 24


class Twice(nn.Module):
    """A convolution that a pool and something else read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.cat([nn.functional.max_pool2d(y, 2).flatten(1), y.flatten(1)], 1)


@pytest.mark.parametrize(
    "net",
    [
        Twice(),
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True, padding=1)),
    ],
)
def test_other_convolutions_leave_it_where_it_is(net: nn.Module) -> None:
    found, pools = convs(net, torch.randn(1, 1, 16, 16))
    assert pools == 1 and found[0].inner is None


def drawn(seed: int, fixed: bool) -> Case:
    draws = torch.Generator().manual_seed(seed)
    size = (4, 8, 12, 16, 24, 28, 40)[seed % 7]
    pad, columns = (1, 3) if seed % 2 else (0, 5)
    first = nn.Conv2d(2, 5, columns, padding=pad, bias=seed % 3 > 0)
    between = (nn.ReLU(), nn.Identity(), nn.ReLU6())[seed // 2 % 3]
    net = nn.Sequential(first, between, nn.MaxPool2d(2), nn.Conv2d(5, 3, 1), nn.Flatten())
    with torch.no_grad():
        first.weight.normal_(generator=draws).mul_(torch.rand(first.weight.shape, generator=draws) < 0.4)
        first.weight[1] = 0  # a channel that holds its bias
        net[3].weight[:, 2] = 0  # a channel that nobody reads
    images = torch.randn(4, 2, size + (0 if pad else 4), size + (0 if pad else 4), generator=draws)
    return network(net, images[:1], images if fixed else None)


@pytest.mark.parametrize(("vector_bytes", "variant"), [(64, 0), (64, 2), (32, 1), (16, 0)])
def test_convolution_and_pool_together_are_what_pytorch_computes(vector_bytes: int, variant: int) -> None:
    cases = [drawn(seed, False) for seed in range(variant, 21, 3)]
    assert max(errors(cases, vector_bytes, lambda index: variant)) <= 1e-6


def test_convolution_and_pool_together_in_fixed_point() -> None:
    assert max(errors([drawn(seed, True) for seed in range(14)])) <= 1e-2


def test_images_keep_their_pixels_in_fixed_point() -> None:
    """Rows shorter and longer than a vector, whose last pixels are loaded twice; flattened again."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten())
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    images = [torch.rand(1, 1, size, size) for size in (3, 15, 16, 17, 28, 33)]
    for image, found in zip(images, outputs([network(net, image, image) for image in images]), strict=True):
        assert (found - image.flatten()).abs().max() <= 2e-4
