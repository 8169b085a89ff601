"""Prepared images as a Task: shards are mapped into memory and read where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunelle.data.arrays import READY_BYTES, Arrays, ArraySet
from prunelle.data.augment import crop_flip
from prunelle.data.batches import batches
from prunelle.data.folder import SCALING
from prunelle.data.names import INDEX
from prunelle.data.shards import Entry, Index, Shard, decode, read_index, runs, shard_name, spread
from prunelle.data.splits import deal
from prunelle.data.task import Augment, Batch, Preprocessing, Split, Task
from prunelle.errors import CorruptFileError, SettingError
from prunelle.files import sha256, to_json

CPU = torch.device("cpu")
AHEAD = 2
"""Batches that a second thread gathers before they are asked for."""


def load_shards(
    root: Path,
    *,
    device: str | torch.device = "cpu",
    split_seed: int = 0,
    image_size: int | None = None,
    augment: bool = True,
    memory_bytes: int = READY_BYTES,
) -> Task:
    """The Task of a folder that `prunelle prepare` made: bit for bit that of the images it was made from at that size,
    as long as load_folder would hold those in memory (larger ones it decodes anew and crops before it resizes; the
    plain images are equal then, augmented ones here are padded crops and flips).

    Up to memory_bytes of pixels are held in memory, larger sets stay on disk. Every shard is checked against its
    SHA-256 when it is first read, for a use that reads one split must not read them all; a missing or shorter file is
    found at once. The fingerprint is of pixels in memory, of the shards' SHA-256 on disk.
    Raises CorruptFileError, naming the file, SettingError for an image_size that the shards do not have.
    """
    index = read_index(root)
    if image_size not in (None, index.size):
        raise SettingError(
            f"{root}: image_size is {image_size}, its images were prepared with {index.size} pixels a side; "
            "leave it out."
        )
    stored = {part: StoredPart(root, part, entries, index.size) for part, entries in index.parts.items()}
    labels = {part: one.labels for part, one in stored.items()}
    dealt = deal(labels, split_seed)
    name, change = root.resolve().name, partial(crop_flip, padding=max(1, index.size // 8))
    if sum(map(len, labels.values())) * 3 * index.size**2 <= memory_bytes:
        held = [Arrays(stored[part].gather(indices), labels[part][indices]) for part, indices in dealt]
        return ArraySet(name, held[0], held[1], held[2], SCALING, index.class_names, change).task(device, augment)
    train, val, test = (
        ShardSplit(stored[part], indices, torch.from_numpy(labels[part][indices]), SCALING).to(device)
        for part, indices in dealt
    )
    return Task(
        name=name,
        train=replace(train, augment=change) if augment else train,
        val=val,
        test=test,
        input_shape=(3, index.size, index.size),
        num_classes=len(index.class_names),
        preprocessing=SCALING,
        class_names=index.class_names,
        fingerprint=_fingerprint(index, dealt),
    )


class StoredPart:
    """The shards of one part, opened as they are needed. Final.

    labels: (N,) int64, as the index tells them. Raises CorruptFileError for a file of another length.
    """

    def __init__(self, root: Path, part: str, entries: tuple[Entry, ...], size: int) -> None:
        self.paths = [root / shard_name(part, number) for number in range(len(entries))]
        for path, entry in zip(self.paths, entries, strict=True):
            found = path.stat().st_size if path.is_file() else None
            if found != entry.bytes:
                told = "is missing" if found is None else f"has {found:,} bytes, {INDEX} tells of {entry.bytes:,}"
                raise CorruptFileError(f"{path}: {told}; prepare the folder again.")
        self.entries = entries
        self.size = size
        self.labels = np.concatenate([spread(entry.labels) for entry in entries])
        self.starts = np.cumsum([0, *(sum(count for _, count in entry.labels) for entry in entries)])
        self.opened: dict[int, Shard] = {}

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """The images of these examples, (len(indices), 3, size, size) uint8, a copy."""
        found = np.empty((len(indices), 3, self.size, self.size), np.uint8)
        numbers = np.searchsorted(self.starts, indices, side="right") - 1
        for number in np.unique(numbers):
            here = np.flatnonzero(numbers == number)
            found[here] = self.shard(int(number)).images[indices[here] - self.starts[number]]
        return found

    def shard(self, number: int) -> Shard:
        """The shard, mapped and, the first time, held against the index. Raises CorruptFileError."""
        if number not in self.opened:
            path, entry = self.paths[number], self.entries[number]
            data = mapped(path, entry.bytes)
            if hashlib.sha256(data.data).hexdigest() != entry.sha256:
                raise CorruptFileError(f"{path}: does not match its SHA-256 in {INDEX}; prepare the folder again.")
            shard = decode(path, data, self.size)
            if runs(shard.labels.tolist()) != entry.labels:
                raise CorruptFileError(f"{path}: has other labels than {INDEX} tells; prepare the folder again.")
            self.opened[number] = shard
        return self.opened[number]


def mapped(path: Path, num_bytes: int) -> np.ndarray:
    """The file's bytes, (num_bytes,) uint8, mapped. Raises CorruptFileError.

    By torch: Python's own mmap keeps a handle for each file, and a thousand shards would use them all up.
    """
    try:
        return torch.from_file(str(path), shared=False, size=num_bytes, dtype=torch.uint8).numpy()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CorruptFileError(f"{path}: cannot be mapped into memory ({reason}); prepare the folder again.") from None


@dataclass(frozen=True, eq=False)
class ShardSplit(Split):
    """Examples `indices` (N,) of a stored part and their labels (N,); batches are gathered by a second thread,
    augmented and preprocessed on `device`, with the bits that arrays.ArraySplit gives."""

    stored: StoredPart = field(repr=False)
    indices: np.ndarray = field(repr=False)
    labels: Tensor = field(repr=False)
    preprocessing: Preprocessing
    augment: Augment | None = None
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
        return self._gathered(picks, augment if self.augment is not None else None)

    def _gathered(
        self, picks: list[tuple[int, Tensor]], generators: Callable[[int], torch.Generator] | None
    ) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._raw, pick) for _, pick in picks[:AHEAD]]
            for place, (number, pick) in enumerate(picks):
                images = waiting.pop(0).result().to(self.device)
                if place + AHEAD < len(picks):
                    waiting.append(pool.submit(self._raw, picks[place + AHEAD][1]))
                if generators is not None and self.augment is not None:
                    images = self.augment(images, generators(number))
                yield self.preprocessing(images), self.labels[pick].to(self.device)

    def _raw(self, pick: Tensor) -> Tensor:
        return torch.from_numpy(self.stored.gather(self.indices[pick.numpy()]))

    def to(self, device: str | torch.device) -> ShardSplit:
        return replace(self, device=torch.device(device))


def _fingerprint(index: Index, dealt: list[tuple[str, np.ndarray]]) -> str:
    shards = {part: [entry.sha256 for entry in entries] for part, entries in index.parts.items()}
    digest = hashlib.sha256(to_json([index.size, index.resize, index.class_names, shards]).encode())
    for part, indices in dealt:
        digest.update(sha256(part.encode() + indices.astype("<i8").tobytes()).encode())
    return digest.hexdigest()
