"""Networks and tasks of a few numbers each, for tests that train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.augment import crop_flip
from prunelle.data.task import Preprocessing, Task
from prunelle.runs import Run

SHAPE = (2, 6, 6)
CLASSES = 3


def small_task(num: int = 48, *, augmented: bool = False, seed: int = 0) -> Task:
    """Images that can be told apart: each class has its own mean. val 24, test 24 examples."""
    rng = np.random.default_rng(seed)

    def part(count: int) -> Arrays:
        labels = np.arange(count) % CLASSES
        images = rng.integers(0, 128, (count, *SHAPE)) + 60 * labels[:, None, None, None]
        return Arrays(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))

    scaling = Preprocessing(mean=(0.4, 0.4), std=(0.25, 0.25))
    names = tuple("abc")
    augment = crop_flip if augmented else None
    return ArraySet("small", part(num), part(24), part(24), scaling, names, augment).task()


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def mlp() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, CLASSES)))


def conv_net() -> nn.Module:
    """Batch norm, dropout, a grouped convolution and a buffer that counts."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, groups=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32, CLASSES),
        )
    )


def new_run(folder: Path, seed: int = 0, **settings) -> Run:
    return Run.open(folder, {"test": 1, **settings}, seed)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Equal names, types, shapes and every bit, NaN and the sign of 0 included."""
    return first.keys() == second.keys() and all(
        a.dtype == second[name].dtype and a.shape == second[name].shape and bits(a) == bits(second[name])
        for name, a in first.items()
    )


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def scripted(task, scores: list[float]):
    """The task with val accuracies as listed, one an epoch."""
    told = iter(scores)
    return replace(task, metric=lambda outputs, targets: torch.full((len(targets),), next(told)))


@dataclass
class Poison:
    """The task's loss until call number `at`, then the loss times `factor`. Only training calls are counted."""

    at: int
    factor: float
    calls: int = field(default=0)

    def __call__(self, outputs, targets):
        loss = cross_entropy(outputs, targets)
        if outputs.requires_grad:
            self.calls += 1
            if self.calls == self.at:
                return loss * self.factor
        return loss
