"""The training images that 16 and 8 bits are fitted to."""

from __future__ import annotations

from torch import Tensor

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.ship.images import calibration
from prunelle.ship.names import FITTED


def images_for(what: str, runtime: str, task: Task | None, seed: int) -> Tensor | None:
    """The images that a runtime is fitted to, None for one that needs none. what: as its error names it.

    Raises SettingError without data.
    """
    if runtime not in FITTED:
        return None
    if task is None:
        raise SettingError(f"{what}: {runtime} is fitted to images; pass --data.")
    return calibration(task, seed)
