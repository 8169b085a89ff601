"""The training images that 16 and 8 bits are fitted to."""

from __future__ import annotations

from torch import Tensor

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.seeds import generator
from prunelle.ship.names import FITTED

NUM_CALIBRATION = 512


def calibration(task: Task, seed: int) -> Tensor:
    """(512, C, H, W) training images, unaugmented, drawn from the seed; all where there are fewer."""
    number = min(NUM_CALIBRATION, len(task.train))
    return next(iter(task.train.epoch(number, order=generator(seed, "calibration"))))[0]


def images_for(what: str, runtime: str, task: Task | None, seed: int) -> Tensor | None:
    """The images that a runtime is fitted to, None for one that needs none. what: as its error names it.

    Raises SettingError without data.
    """
    if runtime not in FITTED:
        return None
    if task is None:
        raise SettingError(f"{what}: {runtime} is fitted to images; pass --data.")
    return calibration(task, seed)
