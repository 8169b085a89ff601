"""How images lie in memory while a network trains."""

from __future__ import annotations

import copy

import torch
from torch import nn


def best_layout(model: nn.Module, input_shape: tuple[int, ...]) -> torch.memory_format:
    """channels_last for a network of convolutions that runs so, else contiguous_format.

    input_shape: (C, H, W). Convolutions train 1.3 to 1.5 times as fast on a CPU with channels innermost; linear layers
    do not care, and a network that calls `.view` on what a convolution returns raises. So a copy is tried once, forward
    and backward, on two black images.
    """
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return torch.contiguous_format
    trial = copy.deepcopy(model).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    weight = next(trial.parameters())
    try:
        trial(torch.zeros(2, *input_shape, dtype=weight.dtype, device=weight.device)).sum().backward()
    except (RuntimeError, ValueError):
        return torch.contiguous_format
    return torch.channels_last
