from dataclasses import dataclass

import numpy as np
import pytest
import torch
from many_networks import Case, errors, network, outputs
from torch import Tensor, nn
from torch.nn import functional as F

from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import Flatten, Load, Maps, Pool, Program, Vector

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 28, 31, 33, 40)


@dataclass(frozen=True)
class Window:
    """A pooling as torch has it."""

    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool
    count_pad: bool

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "max":
            return F.max_pool2d(x, self.kernel, self.stride, self.pad, 1, self.ceil)
        return F.avg_pool2d(x, self.kernel, self.stride, self.pad, self.ceil, self.count_pad)

    def program(self, image: Tensor, lanes: int) -> Program:
        shape = self(image).shape[1:]
        x, y = Maps(1, 2, layout_of(*image.shape[2:], lanes)), Maps(3, 2, layout_of(*shape[1:], lanes))
        out = Vector(shape.numel())
        pool = Pool("", self.kind, [1, 2], self.kernel, self.stride, self.pad, self.count_pad, y)
        ops = [Load("", x), pool, Flatten("", [3, 4], out)]
        return Program(ops, [x, y], out, tuple(image.shape[1:]), tuple(shape))


def drawn(seed: int) -> Case:
    draws = torch.Generator().manual_seed(seed)

    def two_of(*choices: int) -> tuple[int, int]:
        a, b = (choices[int(i)] for i in torch.randint(len(choices), (2,), generator=draws))
        return (a, b) if seed % 2 else (a, a)

    kernel, stride = two_of(1, 2, 3, 3, 5, 7), two_of(1, 2, 2, 3, 4)
    pad = tuple(min(p, k // 2) for p, k in zip(two_of(0, 0, 1, 2), kernel, strict=True))
    size = [max(s, k - 2 * p) for s, k, p in zip(two_of(*SIZES), kernel, pad, strict=True)]
    found = Window("max" if seed % 3 else "mean", kernel, stride, pad, bool(seed // 3 % 2), bool(seed // 6 % 2))
    image = torch.randn(1, 2, *size, generator=draws) - 3  # below 0, so that a zero from beyond the edge shows
    return Case(lambda lanes: found.program(image, lanes), found, image)


@pytest.mark.parametrize("vector_bytes", (64, 32, 16))
def test_any_pooling_is_what_pytorch_computes(vector_bytes: int) -> None:
    cases = [drawn(100 * vector_bytes + seed) for seed in range(36)]
    for case, error in zip(cases, errors(cases, vector_bytes), strict=True):
        assert error <= 1e-6, f"{case.reference} on {tuple(case.image.shape)} is off by {error}"


def test_windows_by_hand() -> None:
    """0 to 8 in three rows, windows of 2 x 2 beyond a pad of one: the first mean counts one pixel, or four."""
    x = torch.arange(9.0).view(1, 1, 3, 3)
    options = {"kernel_size": 2, "stride": 2, "padding": 1}
    nets = [nn.MaxPool2d(**options), nn.AvgPool2d(**options), nn.AvgPool2d(**options, count_include_pad=False)]
    largest, padded, inside = (found[0].tolist() for found in outputs([network(net, x) for net in nets]))
    assert largest == [[0, 2], [6, 8]]
    assert padded == [[0, 0.75], [2.25, 6]]
    assert inside == [[0, 1.5], [4.5, 6]]


def test_the_pixels_that_a_mean_counts_by_hand() -> None:
    """Windows of 3, stride 2, pad 1 on 4 pixels: they hold 2, 3 and, beyond the pad, 1; with the pad 3, 3, 2."""
    pool = Pool("", "mean", [1], (1, 3), (1, 2), (0, 1), False, Maps(2, 1, layout_of(1, 3, 16)))
    assert pool.counts(1, 4).tolist() == [[2, 3, 1]]
    pool.count_pad = True
    assert pool.counts(1, 4).tolist() == [[3, 3, 2]]
    assert np.all(
        Pool("", "mean", [1], (2, 2), (2, 2), (0, 0), True, Maps(2, 1, layout_of(2, 2, 16))).counts(4, 4) == 4
    )


@pytest.mark.parametrize("vector_bytes", (64, 32, 16))
def test_windows_side_by_side_of_any_size(vector_bytes: int) -> None:
    """2 x 2 without a pad, whose rows are brought together in pairs where they lie in pairs."""
    cases = []
    for number, size in enumerate([(2, 2), (4, 6), (8, 8), (9, 8), (12, 12), (14, 14), (16, 16), (24, 24), (6, 40)]):
        window = Window("mean" if number % 3 == 1 else "max", (2, 2), (2, 2), (0, 0), False, True)
        image = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(number)) - 3
        cases.append(Case(lambda lanes, w=window, x=image: w.program(x, lanes), window, image))
    assert max(errors(cases, vector_bytes)) <= 1e-6


def test_four_pixels_by_hand() -> None:
    """The largest of 0, 1, 4, 5 is 5, of 2, 3, 6, 7 it is 7; the means are 2.5 and 4.5."""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    largest, mean = outputs([network(net, x) for net in (nn.MaxPool2d(2), nn.AvgPool2d(2))])
    assert largest[0].tolist() == [[5, 7], [13, 15]]
    assert mean[0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
