"""How much a channel is worth: one number for each row of a weight that makes channels.

A score is a function `(weight, and by name any of what it needs) -> (n,)`, higher = keep. weight: (n, ...), float:
axis 0 makes the channels. What may be asked for stands in `channel_evidence.KNOWN`.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 2**22
"""Distances held at once."""


def l2_norm(weight: Tensor) -> Tensor:
    """Euclidean length of each row.

    weight: (n, ...), float: axis 0 makes the channels. Returns (n,), higher = keep.

    >>> l2_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([5., 1.])
    """
    return weight.flatten(1).norm(dim=1)


def l1_norm(weight: Tensor) -> Tensor:
    """Sum of absolute values of each row, as `l2_norm`, higher = keep. Source: arXiv:1608.08710, section 3.1."""
    return weight.flatten(1).abs().sum(1)


def geometric_median(weight: Tensor) -> Tensor:
    """Sum of each row's distances to all others: one near the middle of all rows can be stood in for by them.

    weight: (n, ...). Returns (n,), float64 for the ranking of near-equal rows, higher = keep.
    Source: He 2019 (FPGM), arXiv:1811.00250, equations 5 and 6.

    >>> geometric_median(torch.tensor([[0.0], [1.0], [3.0]])).tolist()
    [4.0, 3.0, 5.0]
    """
    rows = weight.flatten(1).double()
    rows = rows - rows.mean(0)  # distances from products lose digits far from 0
    parts = rows.split(max(1, CHUNK // max(1, len(rows))))
    return torch.cat([torch.cdist(part, rows).sum(1) for part in parts])


def random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), blind to the weight: the control that every score must beat.

    weight: (n, ...). generator: on the CPU. Returns (n,) float32, higher = keep.
    """
    return torch.rand(len(weight), generator=generator).to(weight.device)


def batch_norm_scale(weight: Tensor, scale: Tensor) -> Tensor:
    """Size of the scale that the norm behind gives each channel; where there is none, the row's Euclidean length.

    weight: (n, ...). scale: (n,), NaN for a channel without a norm. Returns (n,), higher = keep.
    Source: Liu 2017 (network slimming), arXiv:1708.06519, section 3; there trained with an L1 penalty on the scales.

    >>> batch_norm_scale(torch.tensor([[3.0, 4.0], [6.0, 8.0]]), torch.tensor([-0.5, torch.nan]))
    tensor([ 0.5000, 10.0000])
    """
    return torch.where(scale.isnan(), l2_norm(weight), scale.abs())


def taylor(weight: Tensor, gradient: Tensor) -> Tensor:
    """(sum over the row of weight * gradient)^2: to first order, how the loss changes when the row becomes 0, squared.

    weight, gradient: (n, ...); the gradient is a mean over training batches. Returns (n,), higher = keep.
    Source: Molchanov 2019, arXiv:1906.10771, equation 8 with the gate of section 3.2; there averaged while training.

    >>> taylor(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[1.0, 1.0], [1.0, -3.0]]))
    tensor([9., 0.])
    """
    return (weight * gradient).flatten(1).sum(1).square()


def apoz(weight: Tensor, zeros: Tensor) -> Tensor:
    """1 - average percentage of zeros: how often a channel is above 0 on training images.

    weight: (n, ...). zeros: (n,) the share of its values that are 0 or below, see `by_activation`. Returns (n,),
    higher = keep. Source: Hu 2016, arXiv:1607.03250, equation 1.

    >>> apoz(torch.ones(2, 1), torch.tensor([0.25, 1.0]))
    tensor([0.7500, 0.0000])
    """
    return 1 - zeros


def mean_activation(weight: Tensor, mean: Tensor) -> Tensor:
    """How far a channel's mean over training images is from 0.

    weight: (n, ...). mean: (n,), see `by_activation`. Returns (n,), higher = keep.
    Source: the activation criterion of Molchanov 2017, arXiv:1611.06440, section 2.2.

    >>> mean_activation(torch.ones(2, 1), torch.tensor([-0.5, 2.0]))
    tensor([0.5000, 2.0000])
    """
    return mean.abs()
