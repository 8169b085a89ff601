"""Copies of a module: one that shares every tensor with the original, one with random numbers in them."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[Any, ...]


def shell(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares all parameters and buffers: cheap, and its structure may be changed."""
    shared: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    shared |= {id(tensor): tensor for module in model.modules() for tensor in loose(module)}
    return copy.deepcopy(model, shared)


def loose(module: nn.Module) -> list[Tensor]:
    """Tensors that a module holds as plain attributes."""
    return [value for value in vars(module).values() if isinstance(value, Tensor)]


def own_(model: nn.Module, original: nn.Module) -> nn.Module:
    """Give a shell tensors of its own wherever it still shares one with the original."""
    theirs = {id(tensor) for tensor in (*original.parameters(), *original.buffers())}
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for name, old in list(module._parameters.items()):
            if old is not None and id(old) in theirs:
                if id(old) not in made:
                    made[id(old)] = nn.Parameter(old.detach().clone(), old.requires_grad)
                setattr(module, name, made[id(old)])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and id(buffer) in theirs:
                module._buffers[name] = made.setdefault(id(buffer), buffer.detach().clone())
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, made.setdefault(id(value), value.detach().clone()))
    return model


@torch.no_grad()
def randomised(model: nn.Module, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A copy in eval mode, on the CPU, with every parameter and every norm's statistics drawn anew: zeros and ones of
    fresh models hide errors. Weights get a variance of 1 / fan in, scales .5 to 1.5, shifts up to .1.
    """
    generator = torch.Generator().manual_seed(seed)
    copied = shell(model)
    made: dict[int, Tensor] = {}
    for module in copied.modules():
        for name, old in list(module._parameters.items()):
            if old is not None:
                if id(old) not in made:
                    fresh = drawn(name, old, generator, dtype) if old.is_floating_point() else old.detach().cpu()
                    made[id(old)] = nn.Parameter(fresh, old.requires_grad)
                setattr(module, name, made[id(old)])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_floating_point():
                statistic = name in ("running_mean", "running_var")
                module._buffers[name] = drawn(name, buffer, generator, dtype) if statistic else buffer.to("cpu", dtype)
    return copied.eval()


def drawn(name: str, like: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Random numbers for a tensor of this name and shape."""
    fresh = torch.empty(like.shape, dtype=dtype)
    if fresh.ndim > 1:
        spread = math.sqrt(3 / max(1, fresh[0].numel()))
        return fresh.uniform_(-spread, spread, generator=generator)
    if name in ("running_mean", "bias"):
        return fresh.uniform_(-0.1, 0.1, generator=generator)
    return fresh.uniform_(0.5, 1.5, generator=generator)


def as_type(inputs: Inputs, dtype: torch.dtype = torch.float64) -> Inputs:
    """The same inputs on the CPU, floats in another type."""
    return tuple(
        (x.to("cpu", dtype) if x.is_floating_point() else x.cpu()) if isinstance(x, Tensor) else x for x in inputs
    )
