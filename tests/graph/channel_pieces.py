"""Pieces of random networks that handle the channel axis itself: reductions over it, moves along it, parts of it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from choices import Choices, Spelled, unit
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Mean and maximum over the channels weigh the pixels."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.first, self.mix = unit(c, choose.width(), choose), nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.mix(seen))


class ChannelAttention(nn.Module):
    """ECA: a 1-d convolution along the channels."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.first, self.along = unit(c, choose.width(), choose), nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        weights = self.along(x.mean((2, 3)).unsqueeze(1)).squeeze(1)
        return x * torch.sigmoid(weights)[:, :, None, None]


class Along(nn.Module):
    """One operator along the channels, between two layers."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        ways = {
            "normalize": lambda x: F.normalize(x, dim=1),
            "cumsum": lambda x: x.cumsum(1),
            "softmax": lambda x: x.softmax(1),
            "log_softmax": lambda x: x.log_softmax(1),
            "roll": lambda x: x.roll(3, 1),
            "roll both": lambda x: x.roll((2, 1), (1, 3)),
            "flip": lambda x: x.flip(1),
            "sort": lambda x: x.sort(1).values,
            "centred": lambda x: x - x.mean(1, keepdim=True),
            "standardised": lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-3).sqrt(),
            "by the largest": lambda x: x / (x.abs().amax(1, keepdim=True) + 1),
            "by the sum": lambda x: x / (1 + x.abs().sum(1, keepdim=True)),
            "by the length": lambda x: x / (1 + x.pow(2).sum(1, keepdim=True).sqrt()),
            "local response": lambda x: F.local_response_norm(x, 5),
            "plus one": lambda x: x + 1,
            "exp": lambda x: (-x.abs()).exp(),
            "masked": lambda x: torch.where(x > 0.2, x, torch.zeros_like(x)),
            "masked by one": lambda x: x.masked_fill(x < 0, 1.0),
            "clamped": lambda x: x.clamp(0.1, 2.0),
            "reversed difference": lambda x: 1 - x,
            "every other": lambda x: torch.cat([x[:, ::2], x[:, 1::2]], 1),
            "tokens and back": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).unflatten(2, x.shape[2:]),
            "last axis and back": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
            "halves swapped": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
            "added in place": lambda x: x.clone().add_(x.tanh()).mul_(0.5),
            "squared": lambda x: x.square(),
            "cosine": lambda x: x.cos(),
        }
        self.along = choose.pick("along", *ways)
        self.way = ways[self.along]
        self.first, self.last = unit(c, width, choose), unit(width, choose.width("last"), choose)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.way(self.first(x)))


class Fewer(Spelled):
    """Channels by two, four or halves become one."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width, self.parts = choose.width(), choose.pick("parts", 2, 4)
        self.how = choose.pick("by", "sum", "amax", "mean", "inner amax", "inner mean", "maxout", "product")
        self.first, self.last = unit(c, width, choose), unit(width // self.parts, choose.width("last"), choose)
        self.fix(each=width // self.parts)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        each = self.of("each", c // self.parts)
        if self.how == "maxout":
            return self.last(torch.stack(x.split(each, 1)).amax(0))
        if self.how == "product":
            return self.last(x.view(n, self.parts, each, h, w).prod(1))
        if self.how.startswith("inner"):
            x = x.view(n, each, self.parts, h, w)
            return self.last(x.amax(2) if self.how == "inner amax" else x.mean(2))
        x = x.view(n, self.parts, each, h, w)
        return self.last({"sum": x.sum, "amax": x.amax, "mean": x.mean}[self.how](1))


class More(nn.Module):
    """The same channels more than once."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        ways = {
            "twice": lambda x: torch.cat([x, x], 1),
            "repeat": lambda x: x.repeat(1, 2, 1, 1),
            "interleave": lambda x: x.repeat_interleave(2, 1),
            "tile": lambda x: x.tile((2, 1, 1)),
            "both signs": lambda x: torch.cat([F.relu(x), F.relu(-x)], 1),
            "expand": lambda x: x.unsqueeze(1).expand(-1, 2, -1, -1, -1).flatten(1, 2),
            "ghost": lambda x: torch.cat([x, torch.zeros_like(x)], 1),
        }
        width, self.more = choose.width(), choose.pick("more", *ways)
        self.way = ways[self.more]
        self.first, self.last = unit(c, width, choose), unit(2 * width, choose.width("last"), choose)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.way(self.first(x)))


class Sliced(Spelled):
    """Part of the channels is worked on, the rest passes."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__(choose)
        width = choose.width()
        part = choose.pick("part", width // 4, width // 2)
        self.first, self.inside = unit(c, width, choose), unit(part, part, choose)
        self.how, self.share = choose.pick("by", "slices", "split", "narrow", "in place", "tensor_split"), width // part
        self.last = unit(width, choose.width("last"), choose)
        self.fix(part=part)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        c = x.shape[1]
        part = self.of("part", c // self.share)
        if self.how == "in place":
            x = x.clone()
            x[:, :part] = self.inside(x[:, :part])
            return self.last(x)
        if self.how == "split":
            a, b = x.split((part, c - part), 1)
        elif self.how == "narrow":
            a, b = x.narrow(1, 0, part), x.narrow(1, part, c - part)
        elif self.how == "tensor_split":
            a, b = x.tensor_split((part,), 1)
        else:
            a, b = x[:, :part], x[:, part:]
        return self.last(torch.cat((self.inside(a), b), 1))


class Permuted(nn.Module):
    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        order = list(range(width))
        choose.random.shuffle(order)
        self.register_buffer("order", torch.tensor(order))
        self.first, self.last = unit(c, width, choose), unit(width, choose.width("last"), choose)
        self.how = choose.pick("by", "index_select", "index", "literal")
        self.literal = lambda: order

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.how == "literal":
            return self.last(x[:, self.literal()])
        return self.last(x.index_select(1, self.order) if self.how == "index_select" else x[:, self.order])


class Product(nn.Module):
    """A matrix of the module's own, multiplied in three ways."""

    consumes: ClassVar = {"mix": (0,)}

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.first, self.last = unit(c, c, choose), unit(width, choose.width("last"), choose)
        self.mix = nn.Parameter(torch.zeros(c, width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.how = choose.pick("by", "einsum", "matmul", "tensordot", "linear")

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.how == "einsum":
            return self.last(torch.einsum("nchw,cd->ndhw", x, self.mix) + self.shift.view(-1, 1, 1))
        if self.how == "matmul":
            x = x.permute(0, 2, 3, 1) @ self.mix
        elif self.how == "tensordot":
            x = torch.tensordot(x.permute(0, 2, 3, 1), self.mix, ([3], [0]))
        else:
            x = F.linear(x.permute(0, 2, 3, 1), self.mix.t())
        return self.last((x + self.shift).permute(0, 3, 1, 2))


class Tables(nn.Module):
    """A fixed table or a learned map is added to every image."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        self.how = choose.pick("table", "parameter", "buffer", "position", "not saved")
        shape = (1, c, 8, 8) if self.how == "position" else (1, c, 1, 1)
        if self.how in ("parameter", "position"):
            self.table = nn.Parameter(torch.zeros(shape))
        else:
            self.register_buffer("table", torch.linspace(-1, 1, c).view(shape), persistent=self.how == "buffer")
        self.first, self.last = unit(c, c, choose), unit(c, choose.width(), choose)
        self.times = choose.pick("times", True, False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * self.table if self.times else x + self.table)


class Gram(nn.Module):
    """How channels go with each other, as in style losses; it scales what came in."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.first, self.last = unit(c, width, choose), unit(width, choose.width("last"), choose)
        self.how = choose.pick("by", "softmax", "plain", "pixels")

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        flat = x.flatten(2)
        if self.how == "pixels":
            weights = (flat.transpose(1, 2) @ flat / 8).softmax(-1)
            return self.last((flat @ weights.transpose(1, 2)).view_as(x) + x)
        weights = flat @ flat.transpose(1, 2) / 64
        weights = weights.softmax(-1) if self.how == "softmax" else weights
        return self.last((weights @ flat).reshape(x.shape))


class Unfolded(nn.Module):
    """Patches by F.unfold: channel and place within the patch in one axis."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.first, self.linear = unit(c, 8, choose), nn.Linear(8 * 4, width)
        self.last = unit(width, choose.width("last"), choose)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(F.unfold(self.first(x), 2, stride=2).transpose(1, 2))
        return F.interpolate(self.last(x.transpose(1, 2).unflatten(2, (4, 4))), scale_factor=2)


class Unused(nn.Module):
    """A branch nobody reads, a parameter nobody uses, a frozen layer."""

    def __init__(self, c: int, choose: Choices) -> None:
        super().__init__()
        width = choose.width()
        self.first, self.spare = unit(c, width, choose), unit(width, 8, choose)
        self.never, self.last = nn.Parameter(torch.zeros(width)), unit(width, choose.width("last"), choose)
        self.first.requires_grad_(choose.pick("trained", True, False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.spare(x)
        return self.last(x)


KINDS = (
    SpatialAttention,
    ChannelAttention,
    Along,
    Fewer,
    More,
    Sliced,
    Permuted,
    Product,
    Tables,
    Gram,
    Unfolded,
    Unused,
)
CHANNEL = {kind.__name__: kind for kind in KINDS}
