"""Which range of numbers a layer reads: observers look at a batch at a time and join what they saw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from prunelle.errors import SettingError


class Observer(Protocol):
    def look(self, values: Tensor) -> Tensor:
        """(low, high) as one tensor (2,), of one batch of any shape."""

    def join(self, looks: Tensor) -> Tensor:
        """(2,) of all batches' looks (N, 2)."""


@dataclass(frozen=True)
class MinMax:
    """All that was seen.

    >>> MinMax().join(torch.stack([MinMax().look(torch.tensor([1.0, -2.0])), MinMax().look(torch.tensor([5.0]))]))
    tensor([-2.,  5.])
    """

    def look(self, values: Tensor) -> Tensor:
        return torch.stack(values.aminmax())

    def join(self, looks: Tensor) -> Tensor:
        return torch.stack((looks[:, 0].amin(), looks[:, 1].amax()))


@dataclass(frozen=True)
class Percentile:
    """Without the outermost share of a batch's numbers at either end, 100 - `percent` in all, on average over batches:
    single large numbers are cut off so that all others get finer steps. Raises SettingError outside (50, 100].

    >>> Percentile(80).look(torch.arange(10.0))
    tensor([1., 8.])
    """

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise SettingError(f"percentile: is {self.percent}, must be above 50 and at most 100.")

    def look(self, values: Tensor) -> Tensor:
        flat = values.flatten()
        out = math.floor(len(flat) * (100 - self.percent) / 200 + 1e-9)  # numbers that go at each end
        return torch.stack((flat.kthvalue(out + 1).values, flat.kthvalue(len(flat) - out).values))

    def join(self, looks: Tensor) -> Tensor:
        return looks.mean(0)
