"""Which layers are quantized, and where their output channels lie."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from prunelle.measure.params import prunable

Layer = _ConvNd | nn.Linear


def layers_of(model: nn.Module) -> dict[str, Layer]:
    """Convolutions and linear layers by path: those for which runtimes have int8 kernels."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Layer)}


def channel_axes(model: nn.Module) -> dict[str, int]:
    """For each weight that is rounded, by name, the axis of its output channels: 1 for transposed convolutions,
    whose weights are (in, out / groups, ...), else 0.

    >>> channel_axes(nn.Sequential(nn.Linear(3, 2), nn.ConvTranspose2d(2, 4, 3)))
    {'0.weight': 0, '1.weight': 1}
    """
    transposed = {id(m.weight) for m in model.modules() if isinstance(m, _ConvTransposeNd)}
    return {name: int(id(weight) in transposed) for name, weight in prunable(model).items()}
