"""Columns of a batch that are one number all over."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prunelle.tickets.fused_columns import columns_of


def padded(inner: Tensor) -> Tensor:
    """The inner columns between four of 2 and six of -1."""
    rows = len(inner)
    return torch.cat([torch.full((rows, 4), 2.0), inner, torch.full((rows, 6), -1.0)], 1)


def test_each_different_column_once():
    x = padded(torch.tensor([[1.0, 5.0], [2.0, 2.0], [3.0, -1.0]]))
    found = columns_of(x)
    assert found.few is not None and found.source is not None
    assert found.few.tolist() == [[1.0, 5.0, -1.0, 2.0], [2.0, 2.0, -1.0, 2.0], [3.0, -1.0, -1.0, 2.0]]
    assert found.source.tolist() == [3] * 4 + [0, 1] + [2] * 6
    assert torch.equal(found.few[:, found.source], x)


def test_nan_varies():
    found = columns_of(padded(torch.tensor([[math.nan], [math.nan]])))
    assert found.few is not None and found.few.isnan()[:, 0].all() and found.few.shape == (2, 3)


def test_where_nearly_all_vary_nothing_is_taken_apart():
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    for num_still, apart in ((0, False), (1, False), (4, True)):
        x[:, :num_still] = 0.0
        found = columns_of(x)
        assert found.x is x and (found.few is not None) == apart


def test_one_example_is_all_still_and_costs_what_it_has_of_numbers():
    found = columns_of(torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    assert found.few is not None and found.few.tolist() == [[0.0, 1.0]]
