"""First weights of the convolutional networks. They come from torch's global generator, like any nn.Module's."""

from __future__ import annotations

from torch import nn


def he_init_(model: nn.Module) -> None:
    """Fill every convolution with He's normal (fan out, ReLU) and its bias with 0; other layers stay as they are.

    Source: arXiv:1502.01852, section 2.2.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
