"""Optimizers as values: settings, and functions of (weights, gradients, state)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

State = dict[str, list[Tensor]]
"""One list a quantity (momentum, step count...), one tensor a weight, in the weights' order."""


class Optimizer(Protocol):
    """Settings of an optimizer. Its state travels beside the weights, never inside."""

    def init(self, weights: list[Tensor]) -> State: ...

    def update_(self, weights: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """One step in place on weights and state, by torch's fused kernel."""


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent. weight_decay is added to the gradient (L2)."""

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def init(self, weights: list[Tensor]) -> State:
        # A zero buffer with dampening 0 gives the same first step as no buffer: 0 * momentum + gradient.
        return {"momentum": [torch.zeros_like(w) for w in weights]} if self.momentum else {}

    def update_(self, weights: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        buffers: list[Tensor | None] = [*state["momentum"]] if self.momentum else [None] * len(weights)
        sgd(
            weights,
            gradients,
            buffers,
            fused=True,
            foreach=False,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )


@dataclass(frozen=True)
class Adam:
    """Adam (arXiv:1412.6980), or AdamW (arXiv:1711.05101) when `decoupled`."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    def init(self, weights: list[Tensor]) -> State:
        return {
            "exp_avg": [torch.zeros_like(w) for w in weights],
            "exp_avg_sq": [torch.zeros_like(w) for w in weights],
            "count": [torch.zeros((), dtype=torch.float32, device=w.device) for w in weights],
        }

    def update_(self, weights: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        (adamw if self.decoupled else adam)(
            weights,
            gradients,
            state["exp_avg"],
            state["exp_avg_sq"],
            [],
            state["count"],
            fused=True,
            foreach=False,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )
