"""Scores that look at nothing but the weight."""

import torch
from torch import Tensor


def magnitude(weight: Tensor) -> Tensor:
    """Absolute value: the smallest weights go first.

    weight: any shape, float. Returns the same shape, higher = keep.
    Source: Han 2015, arXiv:1506.02626 section 3.

    >>> magnitude(torch.tensor([-2.0, 1.0]))
    tensor([2., 1.])
    """
    return weight.abs()


def unit_magnitude(weight: Tensor, power: float = 3.0, fewest: int = 32) -> Tensor:
    """Absolute value times how large the weight's unit is, so that units of linear layers vanish as a whole: a unit
    without weights costs no time anywhere, scattered zeros cost all of it where rows are read as vectors.

    weight: (out, in), of which each row is a unit: its norm over the largest row's, to this power; of any other shape
    it is `magnitude`. fewest: of fewer units too, for those are classes, which must not vanish. Returns the same shape,
    higher = keep.

    >>> unit_magnitude(torch.tensor([[3.0, 4.0], [0.0, 2.5]]), 1.0, fewest=2)
    tensor([[3.0000, 4.0000],
            [0.0000, 1.2500]])
    """
    if weight.ndim != 2 or len(weight) < fewest or not weight.numel():
        return magnitude(weight)
    norms = weight.norm(dim=1, keepdim=True)
    return weight.abs() * (norms / norms.max().clamp_min(torch.finfo(norms.dtype).tiny)) ** power


def random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), blind to the weight: the control that every score must beat.

    weight: any shape. generator: on the weight's device. Returns the same shape, at least float32 (of the few numbers
    of a half float too many would be equal), higher = keep.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return torch.rand(weight.shape, generator=generator, device=weight.device, dtype=dtype)
