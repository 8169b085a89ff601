"""Scores that need the loss's gradient."""

from torch import Tensor


def magnitude_times_gradient(weight: Tensor, gradient: Tensor) -> Tensor:
    """|weight * gradient|: to first order, how much the loss changes when the weight becomes 0.

    weight, gradient: the same shape, float; the gradient is a mean over training batches. Returns that shape,
    higher = keep.
    Source: Lee 2018 (SNIP), arXiv:1810.02340 section 4.1, there at initialisation.

    >>> import torch
    >>> magnitude_times_gradient(torch.tensor([2.0, -3.0]), torch.tensor([1.0, 0.5]))
    tensor([2.0000, 1.5000])
    """
    return (weight * gradient).abs()
