"""Many members trained in one program: batched operators instead of a loop over networks."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.errors import ModelError
from prunelle.prune.masks import zero_
from prunelle.tickets.fused_autograd import Autograd, Passes
from prunelle.tickets.fused_chain import Chain, first_to_turn, links_of
from prunelle.tickets.fused_layers import FusedLayer, fuse
from prunelle.tickets.fused_rows import Layout, Rows, bind_, load_
from prunelle.tickets.fusing import fusable
from prunelle.tickets.trainer import Start
from prunelle.train.layout import best_layout
from prunelle.train.optimizers import State
from prunelle.train.step import Update

__all__ = ["FusedTrainer", "fusable"]


class FusedTrainer:
    """A `trainer.Trainer` that steps all members at once. Final.

    Same weights as of `trainer.PlainTrainer` but for rounding. On one thread of a CPU every product, sum and update is
    the call that a member makes alone: no bit differs, and none depends on who is trained beside a member or on how
    many, in chains of linear layers and ReLUs always, elsewhere for batches of a multiple of 32 examples (curved
    activations round the last numbers of a tensor otherwise); benchmarks/tickets_equality.py holds it. A member whose
    loss or gradient is not finite keeps the weights and optimizer state of before that step, as there.
    grouped: convolutions and batch norms of all members as one with groups; one after the other where False. None:
    grouped on a GPU, where it is faster, and not on a CPU, where it is slower.
    Raises ModelError, with the reason that `fusable` gives.
    """

    def __init__(
        self,
        model: nn.Module,
        starts: Sequence[Start],
        rule: Update,
        input_shape: tuple[int, int, int],
        grouped: bool | None = None,
    ) -> None:
        reason = fusable(model, rule, input_shape)
        if reason:
            raise ModelError(f"fused training: {reason}")
        like = next(model.parameters())
        apart = not (like.is_cuda if grouped is None else grouped)
        channels_last = best_layout(model, input_shape) is torch.channels_last
        self.objective = rule.objective
        self.kept = [dict(start.kept) for start in starts]
        turned = first_to_turn(model) if apart else ""
        self.net = fuse(model, len(starts), apart, channels_last, turned)
        self.layout = Layout(self.net)
        self.rows = Rows(self.layout, starts, like, rule.optimizer, f"{turned}.weight" if turned else "")
        self.passes: Passes = self.bind_()
        load_(self.net, self.layout, [start.tensors for start in starts])
        self.rows.zero_()

    @property
    def num_members(self) -> int:
        return len(self.kept)

    def bind_(self) -> Passes:
        """Let the network read the rows. Returns what runs it forward and backward."""
        weights, gradients = self.layout.views(self.rows.weights), self.layout.views(self.rows.gradients)
        bind_(self.net, weights)
        links = links_of(self.net, weights, gradients)
        if links:
            return Chain(links, self.objective)
        return Autograd(self.net, self.objective, self.rows.gradients, gradients)

    def step_(self, batches: Sequence[Batch], lrs: Sequence[float], seeds: Sequence[int]) -> Tensor:
        losses, bounds = torch.stack([found.float() for found in self.passes.losses_(batches)]).cpu()
        good = [m for m, bound in enumerate((losses + bounds).tolist()) if isfinite(bound) or self.fine(m, losses)]
        with torch.no_grad():
            if self.rows.scratch:
                for member in good:
                    self.passes.prepare_(member)
                    self.rows.update_([member], lrs[member])
            else:
                for lr in dict.fromkeys(lrs[member] for member in good):
                    self.rows.update_([member for member in good if lrs[member] == lr], lr)
        return losses

    def fine(self, member: int, losses: Tensor) -> bool:
        """Whether a member's loss and gradients are finite though their bound is not."""
        self.passes.prepare_(member)
        return isfinite(float(losses[member])) and self.rows.finite(member)

    def tensors(self, member: int) -> dict[str, Tensor]:
        found = {name: self.layout.solo(name, stack[member]) for name, stack in self.net.state_dict().items()}
        zero_(found, self.kept[member])
        return found

    def optimizer(self, member: int) -> State:
        return self.rows.state_of(member)

    def keep_(self, members: Sequence[int]) -> None:
        chosen = torch.tensor(members, dtype=torch.int64, device=self.rows.weights.device)
        self.kept = [self.kept[m] for m in members]
        self.rows.keep_(members, chosen)
        for layer in self.net.modules():
            if isinstance(layer, FusedLayer):
                layer.members = len(members)
        for name, tensor in (*self.net.named_parameters(), *self.net.named_buffers()):
            if name not in self.layout.shapes:
                tensor.data = tensor.data[chosen]
        self.passes = self.bind_()
