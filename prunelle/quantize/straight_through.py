"""Rounding that lets gradients pass, and layers that round their weights in every forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunelle.quantize.grid import symmetric
from prunelle.quantize.scales import ScaleRule, scale_of


class Passing(torch.autograd.Function):
    """`symmetric` forward; backward the gradient of what is kept passes as if nothing had been rounded.

    Source: the straight-through estimator, Bengio 2013, arXiv:1308.3432 section 3.1.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, kept: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(kept)
        return symmetric(values, scale, bits).masked_fill_(~kept, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (kept,) = ctx.saved_tensors
        return gradients[0] * kept, None, None, None


class RoundedWeight(nn.Module):
    """A parametrization: the layer computes with rounded weights while their float masters are trained.

    The grid follows the masters: batch norm makes a network blind to the size of its weights, and on a grid that stays
    where it was they grew against its ends until the training broke (ResNet-20, 4 bits, second epoch). What is 0 at the
    start gets no gradient, so that it stays 0 under every optimizer and weight decay. Final.
    """

    def __init__(self, weight: Tensor, bits: int, axis: int | None, rule: ScaleRule) -> None:
        super().__init__()
        self.bits, self.axis, self.rule = bits, axis, rule
        self.register_buffer("kept", weight.detach() != 0)

    def forward(self, weight: Tensor) -> Tensor:
        scale = scale_of(weight, self.bits, self.axis, self.rule)
        return Passing.apply(weight, scale, self.kept, self.bits)


def round_weight_(layer: nn.Module, bits: int, axis: int | None, rule: ScaleRule) -> None:
    """Let `layer` compute with its weight rounded. Its float master becomes `parametrizations.weight.original`."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", RoundedWeight(weight, bits, axis, rule))
