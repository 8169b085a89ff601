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


def random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), blind to the weight: the control that every score must beat.

    weight: any shape. generator: on the weight's device. Returns the same shape, at least float32 (of the few numbers
    of a half float too many would be equal), higher = keep.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return torch.rand(weight.shape, generator=generator, device=weight.device, dtype=dtype)
