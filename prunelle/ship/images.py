"""The images that a file is fitted to and timed on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.measure.rounds import MAX_TURN_CALLS
from prunelle.seeds import generator

NUM_CALIBRATION = 512
NUM_TIMED = 32
TURN_CALLS = MAX_TURN_CALLS + 1


def calibration(task: Task, seed: int) -> Tensor:
    """(512, C, H, W) training images, unaugmented, drawn from the seed; all where there are fewer."""
    number = min(NUM_CALIBRATION, len(task.train))
    return next(iter(task.train.epoch(number, order=generator(seed, "calibration"))))[0]


def timed_images(task: Task | None, shape: tuple[int, int, int], batch: int, seed: int) -> tuple[Tensor, ...]:
    """The batches that calls are timed on, in turns: of the validation split, else of noise. Engines that skip zeros
    are as fast as their images allow, so one image would not do."""
    if task is None:
        draws = generator(seed, "timed")
        return tuple(torch.rand(batch, *shape, generator=draws) for _ in range(NUM_TIMED))
    found: list[Tensor] = []
    for images, _ in task.val.epoch(batch):
        if len(images) < batch and not found:
            raise SettingError(
                f"--batch {batch}: {task.name} has only {len(images)} images to time; pass a smaller one."
            )
        if len(images) == batch:
            found.append(images)
        if len(found) == NUM_TIMED:
            break
    return tuple(found)


def over(run: Callable[[Tensor], Tensor], images: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """A call without arguments that takes the next batch after as many calls as a turn of the timer has.

    Within a turn the batch is the same: the call that is not counted is to find again what the others displaced from
    the cache, and an engine that skips zero inputs reads other weights for another image.
    """
    turns = itertools.chain.from_iterable(itertools.repeat(batch, TURN_CALLS) for batch in itertools.cycle(images))
    return lambda: run(next(turns))
