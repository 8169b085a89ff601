"""Columns of a batch that hold one number all over, such as the border of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WORTH = 0.9
"""Of the columns at most this share may be left for leaving columns out to pay."""


@dataclass(frozen=True)
class Columns:
    """A batch x (N, in). few: (N, fewer), each different column that is needed. source: (in,), which of `few` each
    column of x equals. Both are None where nearly all would be left."""

    x: Tensor
    few: Tensor | None = None
    source: Tensor | None = None


def columns_of(x: Tensor) -> Columns:
    """x: (N, in), on a CPU. A column that holds NaN varies.

    >>> columns_of(torch.tensor([[5.0, 1.0, 5.0, 5.0], [5.0, 2.0, 5.0, 5.0]])).source
    tensor([1, 0, 1, 1])
    """
    most = WORTH * x.shape[1]
    varies = x.amax(0) != x.amin(0)
    places = varies.nonzero().flatten()
    if len(places) >= most:
        return Columns(x)
    still = varies.logical_not_().nonzero().flatten()
    which = x[0, still].unique(return_inverse=True)[1]
    num_values = int(which.max()) + 1
    if len(places) + num_values > most:
        return Columns(x)
    source = torch.empty(x.shape[1], dtype=torch.int64)
    source[places] = torch.arange(len(places))
    source[still] = which + len(places)
    one_each = torch.empty(num_values, dtype=torch.int64).scatter_(0, which, still)
    return Columns(x, x.index_select(1, torch.cat([places, one_each])), source)
