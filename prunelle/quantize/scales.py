"""How far apart the numbers of a symmetric grid stand: functions (rows, bits) -> one scale a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunelle.quantize.grid import largest_code, symmetric

ScaleRule = Callable[[Tensor, int], Tensor]
"""(rows (N, M) float, bits) -> (N,) scales above 0."""

SHARES = tuple(1.0 - 0.02 * step for step in range(41))
"""Of the largest value, where the grid may end: 1 first, so that values which stand on a grid keep it."""


def by_largest(rows: Tensor, bits: int) -> Tensor:
    """The grid ends at the row's largest absolute value: nothing is cut off.

    >>> by_largest(torch.tensor([[0.5, -7.0], [0.0, 0.0]]), bits=4)
    tensor([1., 1.])
    """
    largest = rows.abs().amax(1)
    return torch.where(largest > 0, largest / largest_code(bits), torch.ones_like(largest))


def by_error(rows: Tensor, bits: int) -> Tensor:
    """The grid whose rounding has the least sum of squared errors, of 41 that end at 100 % to 20 % of the row's
    largest value: below 6 bits a few outliers cut off cost less than coarse steps for all others.

    >>> by_error(torch.tensor([[1.0, 1.0, 1.0, 1.2]]), bits=2)
    tensor([1.0560])
    """
    widest = by_largest(rows, bits)
    best, least = widest, torch.full_like(widest, torch.inf)
    for share in SHARES:
        scale = widest * share
        error = (symmetric(rows, scale[:, None], bits) - rows).square().sum(1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def scale_of(weight: Tensor, bits: int, axis: int | None = 0, rule: ScaleRule = by_largest) -> Tensor:
    """The scales of a weight's grid, shaped so that they broadcast against it.

    axis: the one that output channels lie on, each of which gets a grid of its own; None gives all of them one.
    """
    if axis is None:
        return rule(weight.detach().reshape(1, -1), bits).view((1,) * weight.ndim)
    rows = weight.detach().movedim(axis, 0).flatten(1)
    return rule(rows, bits).view([-1 if one == axis else 1 for one in range(weight.ndim)])
