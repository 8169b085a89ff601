"""Image files that are decoded as they are needed, in worker processes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from prunelle.data.batches import batches
from prunelle.data.images import centred, random_resized
from prunelle.data.task import Batch, Preprocessing, Split
from prunelle.errors import DataError

CPU = torch.device("cpu")
MAX_WORKERS = 16
Request = tuple[list[int], int | None]
"""What a worker is asked for: the examples of one batch, and the seed of their augmentation or None."""


@dataclass(frozen=True, eq=False)
class StreamSplit(Split):
    """Files below `root` and their labels (N,) int64; batches are decoded by pillow and preprocessed on `device`.

    names: (N,) relative paths as bytes: one buffer, which forked workers share; a list of strings would be copied.
    image_size: side of the squares cut out. resize: shorter side before a plain image is cut.
    augment: whether the epoch's augment argument is heeded, with a random resized crop and flip.
    """

    root: Path
    names: np.ndarray
    labels: Tensor
    image_size: int
    resize: int
    preprocessing: Preprocessing
    augment: bool = False
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.labels)

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        picks = batches(len(self), batch_size, order=order, start=start, drop_last=drop_last)
        return self._decoded(picks, augment if self.augment else None)

    def _decoded(
        self, picks: list[tuple[int, Tensor]], generators: Callable[[int], torch.Generator] | None
    ) -> Iterator[Batch]:
        on_gpu = self.device.type == "cuda"
        loader = DataLoader(
            _Decoder(self.root, self.names, self.image_size, self.resize),
            sampler=_Requests(picks, generators),
            batch_size=None,
            num_workers=min(spare_workers(self.device), len(picks)),
            pin_memory=on_gpu,
            generator=torch.Generator(),  # its own, or each epoch would draw from the global one
        )
        for (_, pick), images in zip(picks, loader, strict=True):
            if isinstance(images, DataError):
                raise images
            yield self.preprocessing(images.to(self.device, non_blocking=on_gpu)), self.labels[pick].to(self.device)

    def to(self, device: str | torch.device) -> StreamSplit:
        return replace(self, device=torch.device(device))


def spare_workers(device: torch.device) -> int:
    """How many decoding processes, of one thread each, the cores can bear beside the computing threads; 0 or more.

    On a GPU one core is kept for the process that feeds it; torch's CPU threads are idle then.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = torch.get_num_threads() if device.type == "cpu" else 1
    return min(max(0, cores - busy), MAX_WORKERS)


@dataclass(frozen=True)
class _Requests:
    """Draws the seed of each batch from that batch's own generator, in this process, when a worker is free for it."""

    picks: list[tuple[int, Tensor]]
    generators: Callable[[int], torch.Generator] | None

    def __len__(self) -> int:
        return len(self.picks)

    def __iter__(self) -> Iterator[Request]:
        for number, pick in self.picks:
            seed = None
            if self.generators is not None:
                generator = self.generators(number)
                seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
            yield pick.tolist(), seed


@dataclass(frozen=True)
class _Decoder(Dataset):
    root: Path
    names: np.ndarray
    image_size: int
    resize: int

    def __getitem__(self, request: Request) -> Tensor | DataError:
        """(B, 3, size, size) uint8, or the error as a value: raised here it would reach the user inside a traceback."""
        indices, seed = request
        random_ = None if seed is None else random.Random(seed)
        paths = [self.root / os.fsdecode(self.names[index]) for index in indices]
        try:
            if random_ is None:
                images = [centred(path, self.image_size, self.resize) for path in paths]
            else:
                images = [random_resized(path, self.image_size, random_) for path in paths]
        except DataError as error:
            return error
        return torch.from_numpy(np.stack(images))
