"""Which weights are zero, and keeping them so. A mask has no storage of its own: it is where the weights are not 0."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def masks_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """True where a weight is not zero."""
    return {name: w.detach() != 0 for name, w in weights.items()}


@torch.no_grad()
def zero_(weights: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Set what is not kept to +0 in place (a product would leave -0 and keep NaN)."""
    for name, mask in kept.items():
        weights[name].masked_fill_(~mask, 0.0)


class HeldZeros:
    """A train.constraint.Constraint: what is zero at the start is zero after every update. Final.

    The product with a 0/1 mask is one fused call for all layers, within 2 % of a ResNet-20 step.
    """

    def __init__(self, weights: dict[str, nn.Parameter]) -> None:
        self.weights = weights
        self.factors: list[Tensor] = []

    def start_(self, step: int, state: dict[str, Tensor]) -> None:
        if state:
            # Not zeroed again: +0 where the product left -0 would be another bit than without the interruption.
            self.factors = self.factors_of(state)
        else:
            self.hold_(masks_of(self.weights))

    def hold_(self, kept: dict[str, Tensor]) -> None:
        """Zero what is not kept, and keep it so from now on. kept: a mask for every weight."""
        zero_(self.weights, kept)
        self.factors = self.factors_of(kept)

    def factors_of(self, kept: dict[str, Tensor]) -> list[Tensor]:
        """1 where kept, else 0; laid out as the weights are, or the fused product would be one slow call a layer."""
        return [torch.empty_like(w).copy_(kept[name]) for name, w in self.weights.items()]

    @torch.no_grad()
    def after_update_(self, step: int) -> None:
        torch._foreach_mul_(list(self.weights.values()), self.factors)

    def state(self) -> dict[str, Tensor]:
        # The weights do not tell all: a kept one may stand at exactly 0 between two updates.
        return {name: factor.bool() for name, factor in zip(self.weights, self.factors, strict=True)}

    def settled(self, step: int) -> bool:
        return True
