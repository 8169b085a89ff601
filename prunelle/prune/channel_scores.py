"""How much a channel is worth: one number for each row of a weight that makes channels."""

from __future__ import annotations

from torch import Tensor


def l2_norm(weight: Tensor) -> Tensor:
    """Euclidean length of each row.

    weight: (n, ...), float: axis 0 makes the channels. Returns (n,), higher = keep.

    >>> l2_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([5., 1.])
    """
    return weight.flatten(1).norm(dim=1)


def l1_norm(weight: Tensor) -> Tensor:
    """Sum of absolute values of each row, as `l2_norm`. Source: arXiv:1608.08710, section 3.1."""
    return weight.flatten(1).abs().sum(1)
