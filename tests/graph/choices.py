"""What random networks are made of: choices that can be told again, sizes spelled in three ways, layers."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda c: nn.ReLU(),
    "relu in place": lambda c: nn.ReLU(inplace=True),
    "gelu": lambda c: nn.GELU(),
    "silu": lambda c: nn.SiLU(),
    "hardswish": lambda c: nn.Hardswish(),
    "tanh": lambda c: nn.Tanh(),
    "sigmoid": lambda c: nn.Sigmoid(),
    "hardsigmoid": lambda c: nn.Hardsigmoid(),
    "softplus": lambda c: nn.Softplus(),
    "elu": lambda c: nn.ELU(),
    "prelu": nn.PReLU,
    "one prelu": lambda c: nn.PReLU(),
    "leaky": lambda c: nn.LeakyReLU(0.1),
    "relu6": lambda c: nn.ReLU6(),
    "none": lambda c: nn.Identity(),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda c: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "batch, plain": lambda c: nn.BatchNorm2d(c, affine=False),
    "batch, of the batch": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "2 groups": lambda c: nn.GroupNorm(gcd(2, c), c),
    "4 groups": lambda c: nn.GroupNorm(gcd(4, c), c),
    "4 groups, plain": lambda c: nn.GroupNorm(gcd(4, c), c, affine=False),
    "1 group": lambda c: nn.GroupNorm(1, c),
    "a group each": lambda c: nn.GroupNorm(c, c),
    "instance": nn.InstanceNorm2d,
    "instance, affine": lambda c: nn.InstanceNorm2d(c, affine=True),
    "instance, tracked": lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True),
    "layer": lambda c: LayerNorm2d(c),
    "layer, by hand": lambda c: HandMadeNorm(c),
}


class Choices:
    """Draws that are written down: told is what a network is made of, in words."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.told: dict[str, Any] = {}

    def pick(self, name: str, *options: Any) -> Any:
        self.told[name] = self.random.choice(options)
        return self.told[name]

    def width(self, name: str = "width") -> int:
        return self.pick(name, 8, 16, 24, 32)


class Spelled(nn.Module):
    """A module whose forward needs sizes: written into it, read from a shape, or kept as attributes."""

    def __init__(self, choose: Choices) -> None:
        super().__init__()
        self.spelling = choose.pick("sizes", "literal", "shape", "attribute")

    def fix(self, **sizes: int) -> None:
        self.literals = lambda: sizes
        if self.spelling == "attribute":
            for name, size in sizes.items():
                setattr(self, name, size)

    def of(self, name: str, seen: int) -> int:
        if self.spelling == "shape":
            return seen
        return self.literals()[name] if self.spelling == "literal" else getattr(self, name)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class HandMadeNorm(nn.Module):
    """The same, written out."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-5)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


def act(c: int, choose: Choices, name: str = "act") -> nn.Module:
    """relu as often as everything else together."""
    others = choose.random.random() < 0.5
    return ACTIVATIONS[choose.pick(name, *(ACTIVATIONS if others else ("relu",)))](c)


def norm(c: int, choose: Choices, name: str = "norm") -> nn.Module:
    others = choose.random.random() < 0.5
    return NORMS[choose.pick(name, *(NORMS if others else ("batch",)))](c)


def conv(
    inside: int, outside: int, choose: Choices, kernel: int | None = None, groups: int = 1, **more: Any
) -> nn.Module:
    """A convolution that keeps the images' size unless told otherwise."""
    kernel = kernel or choose.pick("kernel", 1, 3)
    layer = nn.Conv2d(
        inside, outside, kernel, padding=kernel // 2, groups=groups, bias=choose.pick("bias", True, False), **more
    )
    return weight_norm(layer) if choose.random.random() < 0.06 else layer


def unit(inside: int, outside: int, choose: Choices, kernel: int | None = None, groups: int = 1) -> nn.Sequential:
    """Convolution, norm, activation."""
    first = conv(inside, outside, choose, kernel, groups)
    return nn.Sequential(first, norm(outside, choose), act(outside, choose))
