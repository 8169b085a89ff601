"""Augmentation on the device: pure functions of raw images (N, C, H, W) and a generator that lives where they do.

Each image gets its own draw; the same generator state gives the same images. Shape and dtype stay.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def crop_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """`crop`, then `flip`: the training augmentation of CIFAR (He et al., arXiv:1512.03385, section 4.2)."""
    return flip(crop(images, generator, padding), generator)


def crop(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Pad by `padding` zeros (black) on each side and cut a window of the old size at a random place."""
    num, _, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * padding + 1, (2, num), generator=generator, device=device)
    windows = pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(num, device=device), :, offsets[0], offsets[1]]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror left and right with probability 1/2."""
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)
