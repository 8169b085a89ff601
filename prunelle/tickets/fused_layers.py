"""Layers of several members at once: each holds one tensor for all and works on their batches laid end to end.

What comes in and goes out is (members * N, ...), member 0's examples first. So whatever lies between these layers and
treats examples apart (activations, pools, flattening, links) is the user's own and needs no change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Order = tuple[int, ...]
"""The axes of a solo tensor as they are stored here."""


ALIGNED = 16
"""Each member's part of a tensor begins at a multiple of so many numbers (64 bytes in float32), as a tensor of its own
does: products of small matrices are rounded otherwise elsewhere."""


def aligned(num: int) -> int:
    """The next multiple of ALIGNED."""
    return -(-num // ALIGNED) * ALIGNED


def room(like: Tensor, members: int, *shape: int) -> Tensor:
    """(members, *shape), not initialised, each member's part aligned."""
    return like.new_empty(members, aligned(prod(shape)))[:, : prod(shape)].unflatten(1, shape)


class FusedLayer(nn.Module):
    """A promise: parameters and buffers by the solo layer's names, shape (members, *the solo axes in their order).

    orders: how the axes of a tensor lie, by its name; the solo order where none is given.
    """

    def __init__(self, layer: nn.Module, members: int, orders: Mapping[str, Order] | None = None) -> None:
        super().__init__()
        self.members = members
        self.orders = orders or {}
        for name, parameter in layer._parameters.items():
            stacked = (
                None if parameter is None else nn.Parameter(self.stacked(name, parameter), parameter.requires_grad)
            )
            self.register_parameter(name, stacked)
        for name, buffer in layer._buffers.items():
            self.register_buffer(name, None if buffer is None else self.stacked(name, buffer))

    def stacked(self, name: str, tensor: Tensor) -> Tensor:
        stored = tensor.detach().permute(self.orders.get(name, tuple(range(tensor.ndim))))
        return stored.expand(self.members, *stored.shape).contiguous()

    def split(self, x: Tensor) -> Tensor:
        """(members * N, ...) as (members, N, ...)."""
        return x.unflatten(0, (self.members, -1))

    def affine(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, axis: int) -> Tensor:
        """x times each member's weight plus its bias, where there are such; axis: the first of x's that they lie on."""
        if weight is None:
            return x
        shape = (self.members, *[1] * axis, *weight.shape[1:], *[1] * (x.ndim - axis - weight.ndim + 1))
        scaled = self.split(x) * weight.reshape(shape)
        return (scaled if bias is None else scaled + bias.reshape(shape)).flatten(0, 1)


def product_(
    out: Tensor, x: Sequence[Tensor] | Tensor, weight: Sequence[Tensor] | Tensor, bias: Tensor | None = None
) -> Tensor:
    """out = x @ weight + bias for every member. out (members, a, c), x (members, a, b), weight (members, b, c), bias
    (members, c).

    On a CPU one product a member, the same call that a layer of its own makes: a batched one is no faster there, and
    rounds otherwise for one member than for two. On a GPU one for all.
    """
    if out.is_cuda:
        return torch.bmm(x, weight, out=out) if bias is None else torch.baddbmm(bias[:, None], x, weight, out=out)  # type: ignore[arg-type]
    if bias is None:
        for into, one, other in zip(out, x, weight, strict=True):
            torch.mm(one, other, out=into)
    else:
        for into, one, other, own in zip(out, x, weight, bias, strict=True):
            torch.addmm(own, one, other, out=into)
    return out


class Products(torch.autograd.Function):
    """x (members, N, in) by weight (members, out, in) plus bias (members, out) or None, each by `product_`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product_(x.new_empty(*x.shape[:2], weight.shape[1]), x, weight.mT, bias)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            product_(torch.empty_like(x), above, weight) if for_x else None,
            product_(room(weight, *weight.shape), above.mT, x) if for_weight else None,
            above.sum(1) if for_bias else None,
        )


class FusedLinear(FusedLayer):
    """One batched product. weight (members, out, in), (members, in, out) when turned; bias (members, out). Final."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, members: int, turned: bool) -> None:
        super().__init__(layer, members, {"weight": (1, 0)} if turned else None)
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.mT if self.turned else self.weight
        out = Products.apply(x.reshape(self.members, -1, x.shape[-1]), weight, self.bias)
        return out.view(*x.shape[:-1], -1)


class FusedConv2d(FusedLayer):
    """Convolutions of all members: one with members as groups, or `apart`, one after the other, which is the faster
    on a CPU. weight (members, out, in / groups, kh, kw); channels last, (members, out, kh, kw, in / groups). Final."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, members: int, apart: bool, channels_last: bool) -> None:
        super().__init__(layer, members, {"weight": (0, 2, 3, 1)} if channels_last else None)
        self.apart, self.channels_last = apart, channels_last
        self.stride, self.padding, self.dilation, self.groups = (
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 1, 4, 2, 3) if self.channels_last else self.weight
        if self.apart:
            biases = [None] * self.members if self.bias is None else self.bias.unbind()
            parts = zip(x.chunk(self.members), weight.unbind(), biases, strict=True)
            return torch.cat([self.convolve(part, w, b, self.groups) for part, w, b in parts])
        bias = None if self.bias is None else self.bias.flatten()
        beside = self.split(x).transpose(0, 1).flatten(1, 2)
        out = self.convolve(beside, weight.flatten(0, 1), bias, self.groups * self.members)
        return out.unflatten(1, (self.members, -1)).transpose(0, 1).flatten(0, 1)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)


class FusedBatchNorm(FusedLayer):
    """Batch norm as it trains: statistics of each member's own batch. All tensors (members, channels). Final.

    apart: as in FusedConv2d; else members lie side by side as channels.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, members: int, apart: bool) -> None:
        super().__init__(layer, members)
        # With momentum None each member's own count of batches is the divisor, so they are taken one by one.
        self.apart = apart or layer.momentum is None
        self.eps, self.momentum = layer.eps, layer.momentum

    def forward(self, x: Tensor) -> Tensor:
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.apart:
            return torch.cat([self.norm(part, m, self.factor(m)) for m, part in enumerate(x.chunk(self.members))])
        beside = self.split(x).transpose(0, 1).flatten(1, 2)
        out = self.norm(beside, ..., self.momentum or 0.0)
        return out.unflatten(1, (self.members, -1)).transpose(0, 1).flatten(0, 1)

    def factor(self, member: int) -> float:
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.num_batches_tracked is None else 1.0 / float(self.num_batches_tracked[member])

    def norm(self, x: Tensor, of: int | EllipsisType, factor: float) -> Tensor:
        """x normalised by the tensors of one member, or of all (`...`) as if they were channels of one."""
        tensors = (self.running_mean, self.running_var, self.weight, self.bias)
        mean, var, weight, bias = (None if t is None else t[of].flatten() for t in tensors)
        return functional.batch_norm(x, mean, var, weight, bias, True, factor, self.eps)


class FusedLayerNorm(FusedLayer):
    """weight, bias (members, *normalized_shape). Final."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.LayerNorm, members: int) -> None:
        super().__init__(layer, members)
        self.normalized_shape, self.eps = layer.normalized_shape, layer.eps

    def forward(self, x: Tensor) -> Tensor:
        normed = functional.layer_norm(x, self.normalized_shape, eps=self.eps)
        return self.affine(normed, self.weight, self.bias, x.ndim - len(self.normalized_shape))


class FusedGroupNorm(FusedLayer):
    """weight, bias (members, channels). Final."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.GroupNorm, members: int) -> None:
        super().__init__(layer, members)
        self.num_groups, self.eps = layer.num_groups, layer.eps

    def forward(self, x: Tensor) -> Tensor:
        normed = functional.group_norm(x, self.num_groups, eps=self.eps)
        return self.affine(normed, self.weight, self.bias, 1)


def fuse(model: nn.Module, members: int, apart: bool, channels_last: bool, turned: str = "") -> nn.Module:
    """A copy of `model` whose layers are those of all members; each member's tensors are the model's own.

    apart, channels_last: see FusedConv2d. turned: the path of a linear layer whose weights lie (in, out).
    """
    fused = copy.deepcopy(model)
    wanted = fused.get_submodule(turned) if turned else None
    makers: dict[type, Callable[..., FusedLayer]] = {
        nn.Linear: lambda layer: FusedLinear(layer, members, layer is wanted),
        nn.Conv2d: lambda layer: FusedConv2d(layer, members, apart, channels_last),
        nn.BatchNorm1d: lambda layer: FusedBatchNorm(layer, members, apart),
        nn.BatchNorm2d: lambda layer: FusedBatchNorm(layer, members, apart),
        nn.LayerNorm: lambda layer: FusedLayerNorm(layer, members),
        nn.GroupNorm: lambda layer: FusedGroupNorm(layer, members),
    }
    if type(model) in makers:
        return makers[type(model)](model).train()
    for parent in list(fused.modules()):
        for name, child in parent.named_children():
            if type(child) in makers:
                setattr(parent, name, makers[type(child)](child))
    return fused.train()


FUSED_KINDS = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
"""What `fuse` knows, by exact type."""
