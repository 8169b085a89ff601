"""Sets that fit in memory: one tensor a split, on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from prunelle.data.batches import batches
from prunelle.data.splits import stratified
from prunelle.data.task import Augment, Batch, Preprocessing, Split, Task

READY_BYTES = 256 * 1024**2
"""Up to this many bytes of float32, a split is preprocessed once and kept."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """Raw images (N, C, H, W), uint8 or float32, and labels (N,) int64."""

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def cut(self, sizes: Sequence[int], seed: int) -> list[Arrays]:
        """Parts of the given sizes, see `splits.stratified`."""
        return [Arrays(self.images[part], self.labels[part]) for part in stratified(self.labels, sizes, seed)]


@dataclass(frozen=True, eq=False)
class ArraySet:
    """What a reader hands over: three parts and how to read them. augment is for training only."""

    name: str
    train: Arrays
    val: Arrays
    test: Arrays
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    augment: Augment | None = None

    def fingerprint(self) -> str:
        """SHA-256, in hex, of shapes, types and bytes of the three parts: any changed byte or split changes it."""
        digest = hashlib.sha256()
        for part in (self.train, self.val, self.test):
            for array in (part.images, part.labels):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def task(self, device: str | torch.device = "cpu", augment: bool = True) -> Task:
        """The Task with its splits on `device`; augment=False trains on plain images."""
        return Task(
            name=self.name,
            train=self._split(self.train, self.augment if augment else None).to(device),
            val=self._split(self.val).to(device),
            test=self._split(self.test).to(device),
            input_shape=self.train.images.shape[1:],
            num_classes=len(self.class_names),
            preprocessing=self.preprocessing,
            class_names=self.class_names,
            fingerprint=self.fingerprint(),
        )

    def _split(self, part: Arrays, augment: Augment | None = None) -> ArraySplit:
        images, labels = (torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in (part.images, part.labels))
        return ArraySplit(images, labels, self.preprocessing, augment)


@dataclass(frozen=True, eq=False)
class ArraySplit(Split):
    """Raw images (N, C, H, W) and labels (N,) on one device.

    Plain epochs of a small split are one index_select a batch from preprocessed images; otherwise the raw batch is
    picked, augmented and preprocessed. Both give the same bits. Batches are copies: writing to one harms nothing.
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    preprocessing: Preprocessing
    augment: Augment | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def ready(self) -> Tensor | None:
        """All images preprocessed, float32; None above READY_BYTES. Made at the first plain epoch."""
        return self.preprocessing(self.images) if 4 * self.images.numel() <= READY_BYTES else None

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        device = self.images.device
        picks = batches(len(self), batch_size, order=order, start=start, drop_last=drop_last, device=device)
        if self.augment is not None and augment is not None:
            return self._augmented(picks, self.augment, augment)
        return self._plain(picks)

    def _plain(self, picks: list[tuple[int, Tensor]]) -> Iterator[Batch]:
        ready, labels = self.ready, self.labels
        if ready is not None:
            for _, pick in picks:
                yield ready.index_select(0, pick), labels.index_select(0, pick)
        else:
            for _, pick in picks:
                yield self.preprocessing(self.images.index_select(0, pick)), labels.index_select(0, pick)

    def _augmented(
        self, picks: list[tuple[int, Tensor]], change: Augment, generators: Callable[[int], torch.Generator]
    ) -> Iterator[Batch]:
        for number, pick in picks:
            images = change(self.images.index_select(0, pick), generators(number))
            yield self.preprocessing(images), self.labels.index_select(0, pick)

    def to(self, device: str | torch.device) -> ArraySplit:
        if self.images.device == torch.device(device):
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))
