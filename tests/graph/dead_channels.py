"""Channels that are dead on purpose, for networks whose pruning has a known answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dead(n: int, groups: int = 1, aligned: bool = False) -> list[int]:
    """Half of n channels, as many in each group and not the first; aligned: the same places in every group."""
    each, found = n // groups, []
    for group in range(groups):
        draws = torch.Generator().manual_seed(17 + (0 if aligned else group))
        found += (torch.randperm(each, generator=draws)[: each // 2] + group * each).tolist()
    return sorted(found)


@torch.no_grad()
def kill(gone: list[int], *layers: nn.Module) -> None:
    """Rows, biases and running means of these channels become 0."""
    for layer in layers:
        for leaf in ("weight", "bias", "running_mean"):
            tensor = getattr(layer, leaf, None)
            if tensor is not None:
                tensor[gone] = 0


class CB(nn.Sequential):
    """Convolution, batch norm, rectifier."""

    def __init__(self, i: int, o: int, k: int = 3, groups: int = 1) -> None:
        super().__init__(nn.Conv2d(i, o, k, padding=k // 2, groups=groups, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class Dead(nn.Module):
    """A network some of whose channels can be made dead. exact: whether its output must then stay the same."""

    shape: tuple[int, ...] = (2, 3, 16, 16)
    exact = True

    def example(self) -> Tensor:
        return torch.randn(*self.shape, generator=torch.Generator().manual_seed(5))

    def make_dead(self) -> None:
        """Nothing, where there is no answer to compare with."""
