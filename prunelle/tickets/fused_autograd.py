"""Forward and backward of members whose network is no chain of linear layers: its own forward, and autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.tickets.fused_loss import member_losses, reads_inputs
from prunelle.train.losses import Objective


class Passes(Protocol):
    """Forward and backward of all members."""

    def losses_(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """As `fused_chain.Chain.losses_`."""

    def prepare_(self, member: int) -> None:
        """As `fused_chain.Chain.prepare_`."""


class Autograd:
    """net: fused. rows: (members, width), where the gradients go. views: of these, by name. Final."""

    def __init__(self, net: nn.Module, objective: Objective, rows: Tensor, views: Mapping[str, Tensor]) -> None:
        self.net, self.objective, self.rows, self.views = net, objective, rows, list(views.values())

    def losses_(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        members, first = len(batches), batches[0][0]
        shared = all(inputs is first for inputs, _ in batches)
        folded = first.repeat(members, *[1] * (first.ndim - 1)) if shared else torch.cat([x for x, _ in batches])
        targets = torch.cat([wanted for _, wanted in batches])
        seen = first if shared or not reads_inputs(self.objective) else folded
        losses = member_losses(self.objective, seen, self.net(folded), targets, members)
        weights = [p for p in self.net.parameters() if p.requires_grad]
        torch._foreach_copy_(self.views, list(torch.autograd.grad(losses.sum(), weights, materialize_grads=True)))
        return losses.detach(), torch.linalg.vector_norm(self.rows, dim=1)

    def prepare_(self, member: int) -> None:
        """Nothing is left to do."""
