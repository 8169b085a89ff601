"""The plain PyTorch loop: one ticket, one optimizer, masked after each step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.data.task import Batch
from prunelle.tickets.trainer import Start
from prunelle.train.layout import best_layout
from prunelle.train.optimizers import Adam
from prunelle.train.step import Update


class Loop:
    """The plain PyTorch loop. Final."""

    def __init__(
        self, model: nn.Module, starts: Sequence[Start], rule: Update, input_shape: tuple[int, int, int]
    ) -> None:
        layout = best_layout(model, input_shape)
        self.models = [copy.deepcopy(model) for _ in starts]
        self.masks = []
        for own, start in zip(self.models, starts, strict=True):
            own.load_state_dict(dict(start.tensors))
            own.to(memory_format=layout)
            weights = dict(own.named_parameters())
            self.masks.append(
                (
                    [weights[n] for n in start.kept],
                    [torch.empty_like(weights[n]).copy_(m) for n, m in start.kept.items()],
                )
            )
        adam = isinstance(rule.optimizer, Adam)
        self.optimizers = [
            torch.optim.Adam(own.parameters(), fused=True)
            if adam
            else torch.optim.SGD(own.parameters(), lr=0.1, momentum=0.9, fused=True)
            for own in self.models
        ]

    def train_(self, member: int, batches: Iterator[Batch], lr: float, steps: int) -> None:
        own, optimizer, (weights, masks) = self.models[member], self.optimizers[member], self.masks[member]
        optimizer.param_groups[0]["lr"] = lr
        for _ in range(steps):
            images, labels = next(batches)
            loss = cross_entropy(own(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_mul_(weights, masks)
