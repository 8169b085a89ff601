"""Fresh networks hide errors: biases and running means are 0, norm scales are 1. Here every tensor gets values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GAIN = 1.4
"""Of the weights, against what a rectifier takes away: else deep in a network only biases are left."""


@torch.no_grad()
def randomise_(model: nn.Module, draws: torch.Generator) -> nn.Module:
    """Draw every parameter and every float buffer that is saved; index tables and derived buffers stay.

    Weights are normal with the deviation GAIN / sqrt(fan in); scales and running variances lie in [.5, 1.5].
    """
    done: set[int] = set()
    for module in model.modules():
        held = [
            (leaf, tensor) for leaf, tensor in module._buffers.items() if leaf not in module._non_persistent_buffers_set
        ]
        for leaf, tensor in (*module._parameters.items(), *held):
            if tensor is None or id(tensor) in done or not tensor.is_floating_point():
                continue
            done.add(id(tensor))
            tensor.copy_(values(leaf, tensor, draws))
    return model.eval()


def values(leaf: str, tensor: Tensor, draws: torch.Generator) -> Tensor:
    """New values for a tensor that its module calls `leaf`."""

    def normal(deviation: float) -> Tensor:
        return torch.randn(tensor.shape, generator=draws) * deviation

    weight = leaf.startswith(("weight", "in_proj_weight", "original1")) or leaf.endswith("_weight")
    if leaf == "running_mean" or "bias" in leaf:
        return normal(0.3)
    if weight and tensor.ndim > 1 and leaf != "weight_g":
        return normal(GAIN / (tensor.numel() / tensor.shape[0]) ** 0.5)
    if tensor.numel() == max(tensor.shape, default=1):
        return 0.5 + torch.rand(tensor.shape, generator=draws)
    return normal(0.5)
