"""Parts of a split, by stored order: the first of it, or one half for choosing and the other for telling."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from prunelle.data.arrays import ArraySplit
from prunelle.data.task import Batch, Split, Task
from prunelle.errors import DataError, SettingError
from prunelle.files import sha256


def part_of(split: Split, start: int, stop: int) -> Split:
    """Examples start..stop-1 of a split, in stored order, unaugmented. Raises DataError where there are none."""
    if not 0 <= start < stop <= len(split):
        raise DataError(f"part: examples {start} to {stop} of {len(split)} are none; ask for some that are there.")
    if isinstance(split, ArraySplit):
        return replace(split, images=split.images[start:stop], labels=split.labels[start:stop], augment=None)
    return Part(split, start, stop)


def first_of(split: Split, num: int) -> Split:
    """The first `num` examples; the split itself where it has no more."""
    return split if len(split) <= num else part_of(split, 0, num)


def choose_on_test(task: Task) -> Task:
    """The task with the first half of the test split for choosing, and only the second for telling.

    For networks that were trained on the validation split too, where it says nothing any more.
    Raises DataError for a test split of fewer than two examples.
    """
    half = len(task.test) // 2
    return replace(
        task,
        val=part_of(task.test, 0, half),
        test=part_of(task.test, half, len(task.test)),
        fingerprint=sha256(f"{task.fingerprint} test halves".encode()),
    )


@dataclass(frozen=True, eq=False)
class Part(Split):
    """A part of any split; the whole split is read up to its end. Only stored order."""

    split: Split
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        if order is not None:
            raise SettingError("part: only stored order can be read of a part of this split; leave `order` out.")
        if batch_size < 1 or start < 0:
            raise SettingError(f"batch_size is {batch_size} and start {start}, must be at least 1 and 0.")
        return itertools.islice(self.batches(batch_size, drop_last), start, None)

    def batches(self, batch_size: int, drop_last: bool) -> Iterator[Batch]:
        seen, held, given = 0, [], 0
        for inputs, targets in self.split.epoch(batch_size):
            low, high = max(0, self.first - seen), min(len(targets), self.stop - seen)
            seen += len(targets)
            if low < high:
                held.append((inputs[low:high], targets[low:high]))
            if sum(len(t) for _, t in held) >= batch_size or seen >= self.stop:
                inputs, targets = (torch.cat(parts) for parts in zip(*held, strict=True))
                while len(targets) >= batch_size or (len(targets) and seen >= self.stop):
                    if len(targets) < batch_size and drop_last and given:
                        return
                    yield inputs[:batch_size], targets[:batch_size]
                    given += 1
                    inputs, targets = inputs[batch_size:], targets[batch_size:]
                held = [(inputs, targets)] if len(targets) else []
            if seen >= self.stop:
                return

    def to(self, device: str | torch.device) -> Part:
        return replace(self, split=self.split.to(device))
