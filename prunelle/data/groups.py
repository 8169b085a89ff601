"""Splits as the member of a class-wise network sees them: its own classes numbered from 1, all others 0."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from prunelle.data.arrays import ArraySplit
from prunelle.data.loaders import regrouped
from prunelle.data.shard_split import ShardSplit
from prunelle.data.stream import StreamSplit
from prunelle.data.task import Batch, Split
from prunelle.errors import DataError


def own_targets(targets: Tensor, group: Sequence[int]) -> Tensor:
    """Targets (N,) int64 of the whole network as its member for the classes `group` has them.

    >>> own_targets(torch.tensor([0, 3, 5]), (5, 0)).tolist()
    [2, 0, 1]
    """
    found = torch.zeros_like(targets)
    for number, target in enumerate(group):
        found[targets == target] = number + 1
    return found


def labels_of(split: Split) -> Tensor:
    """(N,) int64 targets of a split on the CPU, in stored order. Raises DataError where they are no classes."""
    stored = getattr(split, "labels", None)
    labels = torch.cat([targets for _, targets in split.epoch(500)]) if stored is None else stored
    if labels.ndim != 1 or labels.is_floating_point():
        raise DataError(f"groups: targets are {labels.dtype} {tuple(labels.shape)}, must be one class number each.")
    return labels.cpu()


def picked(split: Split, indices: Tensor) -> Split | None:
    """Examples `indices` (n,) of a split, each as often as it stands there; None for a split that cannot be picked
    from. Nothing is read of those that stream."""
    if isinstance(split, ArraySplit):
        at = indices.to(split.images.device)
        return replace(split, images=split.images[at], labels=split.labels[at])
    if isinstance(split, StreamSplit):
        return replace(split, names=split.names[indices.numpy()], labels=split.labels[indices])
    if isinstance(split, ShardSplit):
        return replace(split, indices=split.indices[indices.numpy()], labels=split.labels[indices])
    return None


@dataclass(frozen=True, eq=False)
class Regrouped(Split):
    """A split with the targets of `own_targets`."""

    split: Split
    group: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.split)

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        found = self.split.epoch(batch_size, order=order, augment=augment, start=start, drop_last=drop_last)
        return ((inputs, own_targets(targets, self.group)) for inputs, targets in found)

    def to(self, device: str | torch.device) -> Regrouped:
        return replace(self, split=self.split.to(device))


@dataclass(frozen=True, eq=False)
class Balanced(Split):
    """As many examples of other classes as of the group's own, drawn anew each epoch; where there are fewer others,
    some come twice.

    `order` draws them too; without it the first others are taken. Raises DataError where there is no example of the
    group, or none beside it.
    """

    split: Split
    group: tuple[int, ...]

    @cached_property
    def indices(self) -> tuple[Tensor, Tensor]:
        """(own, others), (n,) each."""
        own = own_targets(labels_of(self.split), self.group) > 0
        found = own.nonzero()[:, 0], (~own).nonzero()[:, 0]
        if not len(found[0]) or not len(found[1]):
            kind = "none" if not len(found[0]) else "nothing but"
            raise DataError(f"groups: the training split holds {kind} examples of classes {list(self.group)}.")
        return found

    def __len__(self) -> int:
        return 2 * len(self.indices[0])

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        drawn = picked(self.split, self.draw(order))
        if drawn is not None:
            return Regrouped(drawn, self.group).epoch(
                batch_size, order=order, augment=augment, start=start, drop_last=drop_last
            )
        kept = self.sifted(batch_size, order, augment)
        return itertools.islice(regrouped(kept, batch_size, drop_last), start, None)

    def draw(self, order: torch.Generator | None) -> Tensor:
        """(2 own,) indices of one epoch."""
        own, others = self.indices
        times = -(-len(own) // len(others))
        if order is None:
            return torch.cat([own, others.repeat(times)[: len(own)]])
        drawn = [others[torch.randperm(len(others), generator=order)] for _ in range(times)]
        return torch.cat([own, torch.cat(drawn)[: len(own)]])

    def sifted(
        self, batch_size: int, order: torch.Generator | None, augment: Callable[[int], torch.Generator] | None
    ) -> Iterator[Batch]:
        """The same of a split that only comes by: all own examples, and of the others the drawn ones by the order in
        which they come; read again where a pass holds too few, for training counts on `len` examples."""
        own, others = self.indices
        whole, rest = divmod(len(own), len(others))
        copies = torch.full((len(others),), whole)
        copies[:rest] += 1
        if order is not None:
            copies = copies[torch.randperm(len(others), generator=order)]
        left, before = len(self), None
        while left and left != before:
            before, seen = left, 0
            for inputs, targets in Regrouped(self.split, self.group).epoch(batch_size, order=order, augment=augment):
                beside = targets == 0
                times = torch.ones_like(targets)
                places = (seen + torch.arange(int(beside.sum()))) % len(others)
                times[beside] = copies[places].to(times)
                seen += len(places)
                drawn = torch.arange(len(targets), device=times.device).repeat_interleave(times)[:left]
                left -= len(drawn)
                yield inputs[drawn], targets[drawn]
                if not left:
                    return

    def to(self, device: str | torch.device) -> Balanced:
        return replace(self, split=self.split.to(device))
