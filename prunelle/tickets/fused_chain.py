"""Forward and backward of chains of linear layers, written out: no autograd, gradients where the optimizer reads them.

Every product is the one that a linear layer takes for one member, so that on one thread of a CPU the bits are the same.
There a large first layer takes one member after the other, so that its weights stay in the cache. Columns of a batch
that hold one number all over (the border of an image) have one gradient: it is computed once for each number, not for
each column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.tickets.fused_columns import Columns, columns_of
from prunelle.tickets.fused_layers import ALIGNED, FusedLinear, product_, room
from prunelle.tickets.fused_loss import member_losses, reads_inputs
from prunelle.train.losses import Objective

LARGE = 2**15
"""Weights of a first layer from which on they lie (in, out), so that gradients of columns are rows. Where their number
is no multiple of ALIGNED they do not: an optimizer would round others at the end of its vectors."""


@dataclass
class Link:
    """A linear layer of all members: weight (members, out, in), bias (members, out) or None, and their gradients.

    turned: the weight and its gradient are (members, in, out). relu: whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None
    turned: bool
    relu: bool = False


def links_of(net: nn.Module, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> list[Link] | None:
    """The layers of a fused Sequential that flattens and then has nothing but linear layers, all trained, and ReLUs.

    weights, gradients: (members, ...) by name. None for any other network.
    """
    if type(net) is not nn.Sequential or not len(net) or not is_flatten(net[0]):
        return None
    links: list[Link] = []
    for path, layer in list(net.named_children())[1:]:
        if isinstance(layer, FusedLinear) and all(p.requires_grad for p in layer.parameters()):
            names = (f"{path}.weight", f"{path}.bias")
            of_weight, of_bias = ((kind[names[0]], kind.get(names[1])) for kind in (weights, gradients))
            links.append(Link(*of_weight, *of_bias, layer.turned))
        elif type(layer) is nn.ReLU and links:
            links[-1].relu = True
        else:
            return None
    return links or None


def is_flatten(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)


def first_to_turn(model: nn.Module) -> str:
    """The path of the linear layer of a solo network whose weights shall lie (in, out), empty for none."""
    if type(model) is not nn.Sequential or len(model) < 2 or not is_flatten(model[0]):
        return ""
    (path, first), *others = list(model.named_children())[1:]
    chain = all(type(layer) in (nn.Linear, nn.ReLU) for layer in (first, *others))
    if type(first) is not nn.Linear or not chain or not all(p.requires_grad for p in model.parameters()):
        return ""
    num = first.weight.numel()
    return path if num >= LARGE and num % ALIGNED == 0 else ""


class Chain:
    """The links, what their members minimise, and room for what is computed on the way. Final.

    Where the first layer is turned its gradients are computed one by one, in `prepare_`.
    """

    def __init__(self, links: Sequence[Link], objective: Objective) -> None:
        self.links, self.objective = links, objective
        self.turned = links[0].turned
        self.size = 0
        self.reached: list[Tensor] = []
        self.above: list[Tensor] = []
        self.columns: list[Columns] = []
        self.few = torch.empty(0)

    def make_room_(self, size: int) -> None:
        """size: N, the examples of a member's batch. Fresh memory for each step would cost a tenth of it."""
        if size != self.size:
            self.size = size
            widths = [link.weight.shape[2 if link.turned else 1] for link in self.links]
            first = self.links[0].weight
            self.reached = [room(first, len(first), size, width) for width in widths]
            self.above = [room(first, len(first), size, width) for width in widths]
            self.few = torch.empty_like(first[0])

    @torch.no_grad()
    def losses_(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """Forward and backward of all members; the gradients stand in the links afterwards, but for those of turned
        weights: see `prepare_`.

        batches: one a member, of one size. Returns losses (members,) and bounds (members,): no number of a member's
        gradients is larger.
        """
        self.make_room_(len(batches[0][0]))
        keys = [id(inputs) for inputs, _ in batches]
        flat = {id(inputs): inputs.flatten(1) for inputs, _ in batches}
        first = self.forward_([flat[key] for key in keys])
        targets = torch.cat([wanted for _, wanted in batches])
        shared = len(flat) == 1 or not reads_inputs(self.objective)
        inputs = batches[0][0] if shared else torch.cat([x for x, _ in batches])
        with torch.enable_grad():
            outputs = self.reached[-1].detach().requires_grad_()
            losses = member_losses(self.objective, inputs, outputs.flatten(0, 1), targets, len(batches))
            (above,) = torch.autograd.grad(losses.sum(), outputs)
        if self.turned:
            columns = {key: columns_of(x) for key, x in flat.items()}
            self.columns = [columns[key] for key in keys]
        sizes = {key: torch.linalg.vector_norm(x) for key, x in flat.items()}
        self.above[-1].copy_(above)
        return losses.detach(), self.backward_(first, torch.stack([sizes[key] for key in keys]))

    def forward_(self, xs: Sequence[Tensor]) -> Sequence[Tensor] | Tensor:
        """xs: one (N, in) a member. Returns what the first layer reads, as `product_` wants it."""
        first: Sequence[Tensor] | Tensor = xs
        if xs[0].is_cuda:
            shared = all(x is xs[0] for x in xs)
            first = xs[0].expand(len(xs), *xs[0].shape) if shared else torch.stack(list(xs))
        below = first
        for link, out in zip(self.links, self.reached, strict=True):
            product_(out, below, link.weight if link.turned else link.weight.mT, link.bias)
            below = out.relu_() if link.relu else out
        return first

    def backward_(self, first: Sequence[Tensor] | Tensor, sizes: Tensor) -> Tensor:
        """From `above` at the outputs to the gradients. first: what the first layer read. sizes: (members,), the 2-norm
        of that. Returns `bounds`."""
        bounds = torch.zeros_like(sizes)
        for number in range(len(self.links) - 1, -1, -1):
            link, above = self.links[number], self.above[number]
            if link.relu:
                torch.ops.aten.threshold_backward.grad_input(above, self.reached[number], 0, grad_input=above)
            if link.bias_gradient is not None:
                torch.sum(above, 1, out=link.bias_gradient)
            if not link.turned:
                product_(link.weight_gradient, above.mT, self.reached[number - 1] if number else first)
            if number:
                product_(self.above[number - 1], above, link.weight)
            size = torch.linalg.vector_norm(self.reached[number - 1], dim=(1, 2)) if number else sizes
            bounds += bound(above, size)
        return bounds

    @torch.no_grad()
    def prepare_(self, member: int) -> None:
        """Compute the gradient of a member's turned weights, over that of the member before: so it is still in the
        cache when the optimizer reads it."""
        if self.turned:
            columns, above, into = self.columns[member], self.above[0][member], self.links[0].weight_gradient[0]
            if columns.few is None or columns.source is None:
                torch.mm(columns.x.T, above, out=into)
            else:
                rows = torch.mm(columns.few.T, above, out=self.few[: columns.few.shape[1]])
                torch.index_select(rows, 0, columns.source, out=into)


def bound(above: Tensor, size: Tensor) -> Tensor:
    """No gradient of a member's layer is larger (Cauchy and Schwarz). above: (members, N, out), at what comes out.
    size: (members,), the 2-norm of what goes in. Returns (members,)."""
    return torch.linalg.vector_norm(above, dim=(1, 2)) * (size + above.shape[1])
