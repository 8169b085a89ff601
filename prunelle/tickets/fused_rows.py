"""The trained weights of all members as the rows of one tensor; one member's are a row, cut into its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from prunelle.tickets.fused_layers import FusedLayer, Order, aligned
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import Optimizer, State


class Layout:
    """Where each trained tensor stands in a row. orders: of the axes of all tensors, trained or not. Final."""

    def __init__(self, net: nn.Module) -> None:
        self.orders: dict[str, Order] = {}
        for path, layer in net.named_modules():
            if isinstance(layer, FusedLayer):
                self.orders |= {f"{path}.{name}".lstrip("."): order for name, order in layer.orders.items()}
        self.shapes = {n: tuple(p.shape[1:]) for n, p in net.named_parameters() if p.requires_grad}
        self.starts: dict[str, int] = {}
        self.width = 0
        for name, shape in self.shapes.items():
            self.starts[name] = self.width
            self.width += aligned(prod(shape))

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """rows: (members, width). Each tensor as (members, *its axes as they are stored), in the parameters' order."""
        return {
            name: rows[:, start : start + prod(self.shapes[name])].unflatten(1, self.shapes[name])
            if self.shapes[name]
            else rows[:, start]
            for name, start in self.starts.items()
        }

    def stored(self, name: str, tensor: Tensor) -> Tensor:
        """A view of a solo tensor with its axes as they are stored."""
        return tensor.permute(self.orders[name]) if name in self.orders else tensor

    def solo(self, name: str, stored: Tensor) -> Tensor:
        """A contiguous copy of one member's tensor, its axes in the solo order."""
        order = self.orders.get(name)
        back = stored if order is None else stored.permute(sorted(range(len(order)), key=order.__getitem__))
        return back.detach().clone(memory_format=torch.contiguous_format)


class Rows:
    """Weights, gradients and masks, (members, width) each; an optimizer state for each member. Final.

    factors: 1 where kept, else 0; None without masks. scratch: the name of a tensor whose gradient has one place,
    member 0's, for all members, who are then updated one by one; empty for none. The optimizer is handed each member's
    own tensors and computes what it would for that member alone, bit for bit.
    """

    def __init__(
        self, layout: Layout, starts: Sequence[Start], like: Tensor, optimizer: Optimizer, scratch: str = ""
    ) -> None:
        self.layout, self.optimizer, self.scratch = layout, optimizer, scratch
        self.weights = torch.zeros(len(starts), layout.width, dtype=like.dtype, device=like.device)
        self.factors = self.masks(starts)
        self.cut_()
        self.states = [self.state(start, own) for start, own in zip(starts, self.own_weights, strict=True)]

    def cut_(self) -> None:
        """Make gradients for the weights there are, and cut both into each member's tensors."""
        self.gradients = torch.zeros_like(self.weights)
        self.own_weights, self.own_gradients = (
            [list(own) for own in zip(*(stack.unbind() for stack in self.layout.views(rows).values()), strict=True)]
            for rows in (self.weights, self.gradients)
        )
        if self.scratch:
            place = list(self.layout.shapes).index(self.scratch)
            for own in self.own_gradients:
                own[place] = self.own_gradients[0][place]

    def masks(self, starts: Sequence[Start]) -> Tensor | None:
        if not any(start.kept for start in starts):
            return None
        factors = torch.ones_like(self.weights)
        views = self.layout.views(factors)
        for member, start in enumerate(starts):
            for name, kept in start.kept.items():
                views[name][member].copy_(self.layout.stored(name, kept))
        return factors

    def state(self, start: Start, weights: Sequence[Tensor]) -> State:
        """A member's optimizer state, its tensors laid out as its weights are."""
        state = self.optimizer.init(list(weights))
        for quantity, given in start.optimizer.items():
            for name, mine, tensor in zip(self.layout.shapes, state[quantity], given, strict=True):
                mine.copy_(self.layout.stored(name, tensor) if tensor.ndim else tensor)
        return state

    def zero_(self) -> None:
        """Set what is not kept to +0."""
        if self.factors is not None:
            self.weights.masked_fill_(self.factors == 0, 0.0)

    def update_(self, members: Sequence[int], lr: float) -> None:
        """One step of the optimizer for these, and their masks."""
        weights, gradients = ([t for m in members for t in own[m]] for own in (self.own_weights, self.own_gradients))
        state = {q: [t for m in members for t in self.states[m][q]] for q in self.states[0]}
        self.optimizer.update_(weights, gradients, state, lr)
        if self.factors is not None and len(members) == len(self.weights):
            self.weights.mul_(self.factors)
        elif self.factors is not None:
            for member in members:
                self.weights[member].mul_(self.factors[member])

    def finite(self, member: int) -> bool:
        """Whether the gradients are, judged as `train.step.all_finite` does."""
        norms = torch._foreach_norm(self.own_gradients[member], 2)
        return bool(torch.stack([norm.float() for norm in norms]).isfinite().all())

    def state_of(self, member: int) -> State:
        """Copies of a member's optimizer state, axes in the solo order."""
        return {
            quantity: [
                self.layout.solo(name, own) if own.ndim else own.clone()
                for name, own in zip(self.layout.shapes, tensors, strict=True)
            ]
            for quantity, tensors in self.states[member].items()
        }

    def keep_(self, members: Sequence[int], chosen: Tensor) -> None:
        """chosen: `members` as a tensor (kept,), int64."""
        self.weights = self.weights[chosen]
        self.factors = None if self.factors is None else self.factors[chosen]
        self.states = [self.states[m] for m in members]
        self.cut_()


@torch.no_grad()
def load_(net: nn.Module, layout: Layout, solos: Sequence[Mapping[str, Tensor]]) -> None:
    """Put each member's tensors, by the names of `state_dict`, into a fused network."""
    for name, stack in net.state_dict().items():
        for own, tensors in zip(stack, solos, strict=True):
            own.copy_(layout.stored(name, tensors[name]))


def bind_(net: nn.Module, views: Mapping[str, Tensor]) -> None:
    """Let the network's parameters be these views."""
    for name, parameter in net.named_parameters():
        if name in views:
            parameter.data = views[name]
