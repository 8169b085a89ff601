from dataclasses import dataclass

import numpy as np
import pytest
import torch
from many_networks import Case, errors, network, outputs
from torch import Tensor, nn
from torch.nn import functional as F

from prunelle.ship.c.conv import best_tile, shapes
from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import Conv, Flatten, Load, Maps, Program, Vector
from prunelle.ship.c.taps import TapConv

WIDTHS = (64, 32, 16)
SIZES = (1, 2, 3, 5, 7, 8, 9, 14, 15, 16, 17, 20, 28, 31, 32, 33, 40)


@dataclass(frozen=True)
class Geometry:
    """A convolution behind zeros of its own (left, right, above, below), behind one of 1x1 that makes its channels."""

    mix: Tensor
    weight: Tensor
    bias: Tensor
    sides: tuple[int, int, int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def __call__(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x), self.bias.to(x)
        x = F.pad(F.conv2d(x, self.mix.to(x)), self.sides)
        return F.conv2d(x, weight, bias, self.stride, self.pad, self.dilation, self.groups)

    def program(self, image: Tensor, lanes: int) -> Program:
        inputs, outputs, shape = len(self.mix), len(self.weight), self(image).shape[1:]
        image_maps = Maps(1, image.shape[1], layout_of(*image.shape[2:], lanes))
        x = Maps(10, inputs, image_maps.layout)
        y = Maps(10 + inputs, outputs, layout_of(*shape[1:], lanes))
        before = self.pad[0] + self.sides[2], self.pad[1] + self.sides[0]
        mix, weight, bias = (t.double().numpy() for t in (self.mix, self.weight, self.bias))
        first = Conv("", [1, 2], mix, np.zeros(inputs), (1, 1), (0, 0), (1, 1), 1, x)
        options = self.stride, before, self.dilation, self.groups
        second = Conv("", list(range(10, 10 + inputs)), weight, bias, *options, y)
        out = Vector(shape.numel())
        flat = Flatten("", list(range(10 + inputs, 10 + inputs + outputs)), out)
        ops = [Load("", image_maps), first, second, flat]
        return Program(ops, [image_maps, x, y], out, tuple(image.shape[1:]), tuple(shape))


def drawn(seed: int) -> Case:
    """Any geometry that torch takes, on an image of any size."""
    draws = torch.Generator().manual_seed(seed)

    def one_of(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=draws))]

    def two_of(*choices: int) -> tuple[int, int]:
        first = one_of(*choices)
        return (first, first) if one_of(0, 1) else (first, one_of(*choices))

    groups = one_of(1, 1, 1, 2, 4)
    inputs, kernel, stride = groups * one_of(1, 1, 2, 3), two_of(1, 2, 3, 3, 5, 7), two_of(1, 1, 2, 3, 4)
    pad, dilation = two_of(0, 1, 2, 3), two_of(1, 1, 1, 2)
    if one_of(0, 1) and kernel[0] % 2 and kernel[1] % 2:
        stride, pad = (1, 1), (kernel[0] // 2 * dilation[0], kernel[1] // 2 * dilation[1])
    sides = (one_of(0, 1, 2), one_of(0, 3), one_of(0, 1, 2), one_of(0, 3)) if one_of(0, 0, 1) else (0, 0, 0, 0)
    size = [max(one_of(*SIZES), (k - 1) * d + 1 - 2 * p) for k, d, p in zip(kernel, dilation, pad, strict=True)]
    weight = torch.randn(groups * one_of(1, 2, 3), inputs // groups, *kernel, generator=draws)
    weight *= torch.rand(weight.shape, generator=draws) < (0.0, 0.1, 0.3, 1.0, 1.0)[one_of(0, 1, 2, 3, 4)]
    bias = torch.randn(len(weight), generator=draws) * one_of(0, 1)
    mix = torch.randn(inputs, 2, 1, 1, generator=draws)
    found = Geometry(mix, weight, bias, sides, stride, pad, dilation, groups)
    image = torch.randn(1, 2, *size, generator=draws)
    return Case(lambda lanes: found.program(image, lanes), found, image)


@pytest.mark.parametrize("vector_bytes", WIDTHS)
def test_any_convolution_is_what_pytorch_computes(vector_bytes: int) -> None:
    cases = [drawn(1000 * vector_bytes + seed) for seed in range(36)]
    found = errors(cases, vector_bytes, pick=lambda index: vector_bytes // 16 + index)
    for case, error in zip(cases, found, strict=True):
        assert error <= 1e-6, f"{case.reference} on {tuple(case.image.shape)} is off by {error}"


def test_a_kernel_by_hand() -> None:
    """2 above the middle and 3 right of it, on the numbers 0 to 8, and 1 for bias."""
    conv = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 1], conv.weight[0, 0, 1, 2] = 2.0, 3.0
        conv.bias.fill_(1.0)
    image = torch.arange(9.0).view(1, 1, 3, 3)
    expected = [[1 + 3, 1 + 6, 1], [1 + 12 + 0, 1 + 15 + 2, 1 + 4], [1 + 21 + 6, 1 + 24 + 8, 1 + 10]]
    assert outputs([network(conv, image)])[0][0].tolist() == expected


@pytest.mark.parametrize("vector_bytes", WIDTHS)
def test_the_identity_changes_no_bit(vector_bytes: int) -> None:
    conv = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    image = torch.randn(1, 3, 19, 23, generator=torch.Generator().manual_seed(0))
    assert torch.equal(outputs([network(conv, image)], vector_bytes)[0], image[0])


def test_the_tile_leaves_the_fewest_tiles_and_then_the_least_over() -> None:
    assert best_tile(16, 1, 8) == 8
    assert best_tile(9, 1, 8) == 5  # 5 + 4 rather than 8 + 1
    assert best_tile(12, 2, 5) == 4  # whole rows of two
    assert best_tile(3, 1, 24) == 3


def test_no_variant_sums_in_more_vectors_than_there_are() -> None:
    """Middle and right columns each have their sums: 2 sets of block x tile."""
    out = Maps(1, 4, layout_of(32, 32, 16))
    taps = np.array([[0, 0, 9, 0], [0, 1, 9, 0], [0, 2, 9, 0]])
    found = shapes(TapConv("", taps, np.ones(3), -1, 3, np.zeros(4), out), 24)
    assert {shape.block for shape in found} == {1, 2, 4}
    assert all(2 * shape.block * shape.tile <= 24 and shape.tile % 2 == 0 for shape in found)
