"""A shipped folder measured as it stands, in the runtime it was shipped for."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from prunelle.data.load import load_task
from prunelle.errors import ModelError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.card import Card
from prunelle.measure.latency import time_callable
from prunelle.recipes.check import check_input
from prunelle.recipes.measure import LARGEST_BATCH
from prunelle.ship.formats import Run
from prunelle.ship.shipped import open_shipped


class Running(nn.Module):
    """A runtime in the shape of a module."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)


def measure_shipped(
    folder: Path,
    *,
    runtime: str = "eager",
    batch: int = 1,
    data: str | None = None,
    data_dir: str | None = None,
    threads: int = 1,
    seed: int = 0,
    trust: bool = False,
) -> Card:
    """The card of a shipped folder: bytes, latency and accuracy of the file itself, counts of the model it came from.

    runtime: the word that stands when none was given, or the file's own. Raises SettingError for another one,
    ModelError when the data has other images, what `ship.shipped.open_shipped` raises.
    """
    run, found = open_shipped(folder, threads, trust)
    if runtime not in ("eager", found.runtime):
        raise SettingError(f"--runtime {runtime}: {folder} was shipped for {found.runtime}; leave it out.")
    shape = found.shape
    if batch * math.prod(shape) > LARGEST_BATCH:
        raise SettingError(f"--batch {batch}: images of {shape} would not fit in memory; pass a smaller one.")
    card = Card(str(folder), **found.counts.model_dump(), size_bytes=found.size_bytes)
    images = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed))
    card = card.with_timing(time_callable(lambda: run(images), threads=threads), batch, found.runtime)
    if data is None:
        return card
    task = load_task(data, data_dir=data_dir)
    check_input(shape, task.input_shape, task.name)
    if task.num_classes != found.num_classes:
        raise ModelError(
            f"{folder}: gives {found.num_classes} outputs and {task.name} has {task.num_classes} classes; "
            "use a fitting one."
        )
    return card.with_accuracy(evaluate(Running(run), task.test, task.loss, task.metric))
