"""What a ticket is held against: masks that keep as many weights, chosen blindly."""

from __future__ import annotations

import torch
from torch import Tensor

from prunelle.prune.select import Kept
from prunelle.seeds import generator


def random_mask(kept: Kept, seed: int, *names: str | int) -> Kept:
    """In every layer as many weights kept as in `kept`, anywhere in the layer.

    >>> mask = random_mask({"w": torch.tensor([[True, False], [False, False]])}, 0)
    >>> int(mask["w"].sum())
    1
    """
    found = {}
    for name, mask in kept.items():
        order = torch.randperm(mask.numel(), generator=generator(seed, "random", name, *names))
        found[name] = mask.reshape(-1).cpu()[order].view(mask.shape).to(mask.device)
    return found


def shuffled_mask(kept: Kept, seed: int, *names: str | int) -> Kept:
    """In every unit (first axis) as many weights kept as in `kept`, anywhere in the unit.

    Units that the ticket has given up stay given up, so this is the harder control of the two.

    >>> mask = shuffled_mask({"w": torch.tensor([[True, True, False], [False, False, False]])}, 0)
    >>> mask["w"].sum(1).tolist()
    [2, 0]
    """
    return {
        name: shuffled_rows(mask.reshape(len(mask), -1).cpu(), generator(seed, "shuffled", name, *names))
        .view(mask.shape)
        .to(mask.device)
        for name, mask in kept.items()
    }


def shuffled_rows(mask: Tensor, draws: torch.Generator) -> Tensor:
    """(rows, columns) bool with every row permuted on its own."""
    return mask.gather(1, torch.rand(mask.shape, generator=draws).argsort(dim=1))
