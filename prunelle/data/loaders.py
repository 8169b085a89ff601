"""A user's own DataLoaders become a Task."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from prunelle.data.task import Batch, Loss, Metric, Preprocessing, Split, Task, correct
from prunelle.errors import DataError, SettingError

CPU = torch.device("cpu")


def from_loaders(
    train: Iterable[Batch],
    val: Iterable[Batch],
    test: Iterable[Batch],
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    loss: Loss = cross_entropy,
    metric: Metric = correct,
    name: str = "loaders",
    preprocessing: Preprocessing | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Task:
    """Wrap DataLoaders, or anything that can be iterated again, of (inputs float (B, C, H, W), targets (B, ...)).

    Inputs are taken as the network reads them. preprocessing: what the loaders have done, so that it can be shipped
    with the model; None says nothing was. Integer targets (B,) must lie in 0..num_classes-1.
    The fingerprint covers name, lengths and shape only: put the version of your data into `name`.
    Raises DataError for an iterator, an empty loader, or (when a batch is drawn) other shapes and labels.
    """
    parts = {"train": train, "val": val, "test": test}
    shape = (int(input_shape[0]), int(input_shape[1]), int(input_shape[2]))
    splits = {
        part: LoaderSplit(loader, part, shape, num_classes, _count(part, loader)) for part, loader in parts.items()
    }
    lengths = [len(split) for split in splits.values()]
    channels = shape[0]
    return Task(
        name=name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        input_shape=shape,
        num_classes=num_classes,
        preprocessing=preprocessing or Preprocessing((0.0,) * channels, (1.0,) * channels, (0.0, 1.0)),
        class_names=class_names or tuple(map(str, range(num_classes))),
        fingerprint=hashlib.sha256(repr((name, lengths, shape, num_classes)).encode()).hexdigest(),
        loss=loss,
        metric=metric,
    )


@dataclass(frozen=True, eq=False)
class LoaderSplit(Split):
    """What a user's loader yields, regrouped into batches of the size asked for.

    Order and augmentation are the loader's own: `order` and `augment` change nothing. `start` draws and drops the
    batches before it, so a resumed epoch equals the first one only if the loader gives the same epoch again (seeded).
    """

    loader: Iterable[Batch]
    part: str
    input_shape: tuple[int, ...]
    num_classes: int
    num_examples: int
    device: torch.device = CPU

    def __len__(self) -> int:
        return self.num_examples

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        if batch_size < 1 or start < 0:
            raise SettingError(f"batch_size is {batch_size} and start {start}, must be at least 1 and 0.")
        found = regrouped(map(self._checked, self.loader), batch_size, drop_last)
        return ((x.to(self.device), y.to(self.device)) for x, y in itertools.islice(found, start, None))

    def _checked(self, batch: Batch) -> Batch:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(isinstance(t, Tensor) for t in batch):
            raise DataError(
                f"{self.part} loader: yields {type(batch).__name__}, must be a pair (inputs, targets) of tensors."
            )
        inputs, targets = batch
        if tuple(inputs.shape[1:]) != self.input_shape or not inputs.is_floating_point():
            raise DataError(
                f"{self.part} loader: inputs are {inputs.dtype} {tuple(inputs.shape)}, must be floats (B, "
                f"{', '.join(map(str, self.input_shape))})."
            )
        if targets.ndim == 0 or len(targets) != len(inputs):
            raise DataError(
                f"{self.part} loader: targets are {tuple(targets.shape)} for {len(inputs)} inputs, must be one "
                "for each."
            )
        if targets.dtype == torch.int64 and targets.ndim == 1 and targets.device.type == "cpu" and len(targets):
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= self.num_classes:
                raise DataError(
                    f"{self.part} loader: targets reach from {low} to {high}, must lie in 0..{self.num_classes - 1}."
                )
        return inputs.float(), targets

    def to(self, device: str | torch.device) -> LoaderSplit:
        return replace(self, device=torch.device(device))


def regrouped(pairs: Iterable[Batch], batch_size: int, drop_last: bool) -> Iterator[Batch]:
    held: Batch | None = None
    yielded = False
    for pair in pairs:
        inputs, targets = pair if held is None else (torch.cat([held[0], pair[0]]), torch.cat([held[1], pair[1]]))
        whole = len(inputs) - len(inputs) % batch_size
        for at in range(0, whole, batch_size):
            yield inputs[at : at + batch_size], targets[at : at + batch_size]
            yielded = True
        held = (inputs[whole:], targets[whole:]) if whole < len(inputs) else None
    if held is not None and not (drop_last and yielded):
        yield held


def _count(part: str, loader: Iterable[Batch]) -> int:
    """Number of examples: asked of a plain DataLoader, otherwise counted in one pass."""
    if isinstance(loader, Iterator):
        raise DataError(
            f"{part} loader: is an iterator, which ends after one epoch; give a DataLoader or a list of batches."
        )
    if isinstance(loader, DataLoader) and loader.batch_size is not None and isinstance(loader.sampler, Sized):
        num = len(loader.sampler)
        num -= num % loader.batch_size if loader.drop_last else 0
    else:
        num = sum(len(batch[1]) for batch in loader)
    if num == 0:
        raise DataError(f"{part} loader: yields no example; give at least one batch.")
    return num
