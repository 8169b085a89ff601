"""Task, the first currency: what a network is for. Splits, preprocessing, loss and metric."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunelle.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

Batch = tuple[Tensor, Tensor]
Augment = Callable[[Tensor, torch.Generator], Tensor]
"""(N, C, H, W) raw images and a generator on their device -> images of the same shape and dtype."""


@dataclass(frozen=True)
class Preprocessing:
    """Turns raw images into what the network reads: (x - low) / (high - low), minus mean, over std, per channel.

    mean, std: one number a channel, in units of the scaled image. value_range: (low, high) of the raw values.
    layout: the order of one image's axes; only "CHW" is read.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 255.0)
    layout: str = "CHW"

    def __post_init__(self) -> None:
        if self.layout != "CHW":
            raise SettingError(f"preprocessing: layout is {self.layout!r}, must be 'CHW'; transpose the images first.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise SettingError(
                f"preprocessing: {len(self.mean)} means and {len(self.std)} stds, must be one of each per channel."
            )
        if not all(map(math.isfinite, (*self.mean, *self.std, *self.value_range))):
            raise SettingError(f"preprocessing: {self} holds NaN or infinity; every number must be finite.")
        if not all(s > 0 for s in self.std):
            raise SettingError(f"preprocessing: std is {self.std}, every entry must be above 0.")
        if not self.value_range[0] < self.value_range[1]:
            raise SettingError(
                f"preprocessing: value_range is {self.value_range}, must be (low, high) with low < high."
            )

    def __call__(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W), any dtype, raw values. Returns float32 of the same shape and device."""
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ShapeError(f"preprocessing: images are {tuple(images.shape)}, must be (N, {len(self.mean)}, H, W).")
        low, high = self.value_range
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images.float() - low).div_(high - low).sub_(mean).div_(std)

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: dict) -> Preprocessing:
        """Raises SettingError when a field is missing, unknown or out of range."""
        try:
            return Preprocessing(
                mean=tuple(map(float, values["mean"])),
                std=tuple(map(float, values["std"])),
                value_range=(float(values["value_range"][0]), float(values["value_range"][1])),
                layout=str(values["layout"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise SettingError(f"preprocessing: {values!r:.200} lacks a field or has a wrong type ({error}).") from None


class Split(ABC):
    """One part of a data set. Batches come preprocessed, on the split's device."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Yield (inputs float32 (B, C, H, W), targets) batch by batch.

        order: a CPU generator shuffles; None keeps the stored order. augment: batch number -> the generator of that
        batch's augmentation; None leaves images as they are. start: number of the first batch wanted, so that an
        interrupted epoch goes on with the very batches it would have seen. drop_last: leave out a short last batch
        (never the only one).
        """

    def num_batches(self, batch_size: int, drop_last: bool = False) -> int:
        """How many batches one epoch has."""
        full, rest = divmod(len(self), batch_size)
        return max(1, full + (rest > 0 and not drop_last))

    @abstractmethod
    def to(self, device: str | torch.device) -> Split:
        """The same split with its batches on `device`."""


Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> mean loss, a scalar."""
Metric = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> (N,) one value an example, higher = better; the mean over a split is reported."""


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """1.0 where the largest output is the target's, else 0.0. outputs: (N, classes); targets: (N,) int64.

    >>> correct(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    tensor([1., 0.])
    """
    return (outputs.argmax(dim=1) == targets).float()


@dataclass(frozen=True)
class Task:
    """What a network is for. Choices are made on `val`; `test` is read once, at the end.

    input_shape: (C, H, W). num_classes: number of outputs. fingerprint: hash of the data and its splits.
    """

    name: str
    train: Split
    val: Split
    test: Split
    input_shape: tuple[int, int, int]
    num_classes: int
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    fingerprint: str
    loss: Loss = cross_entropy
    metric: Metric = correct

    @staticmethod
    def from_loaders(train: DataLoader, val: DataLoader, test: DataLoader, **settings: Any) -> Task:
        """A task from loaders of your own; settings and errors as in data.loaders.from_loaders."""
        from prunelle.data.loaders import from_loaders

        return from_loaders(train, val, test, **settings)

    def to(self, device: str | torch.device) -> Task:
        return dataclasses.replace(
            self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device)
        )
