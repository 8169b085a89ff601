"""Peak memory of a saved folder: what a machine needs to run it in PyTorch."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from prunelle.errors import ModelError
from prunelle.measure.memory import peak_memory_fresh
from prunelle.models.open import open_model
from prunelle.ship.eager import eager


def peak_memory_of_folder(folder: str | Path, batch: int = 1, threads: int = 1) -> int:
    """Bytes at the highest point of one eager inference of `batch` images in a new process, PyTorch included.

    Raises MeasurementError when the folder cannot be loaded there, for example because its builder needs trust.
    """
    return peak_memory_fresh(folder_run, str(folder), batch, threads)


def folder_run(folder: str, batch: int, threads: int) -> Callable[[], Tensor]:
    """One inference of `batch` black images of the folder's input shape. Raises ModelError when it states none."""
    torch.set_num_threads(threads)
    opened = open_model(folder)
    if opened.input_shape is None:
        raise ModelError(f"{folder}: does not say what images it takes; save it with its preprocessing.")
    images = torch.zeros(batch, *opened.input_shape)
    run = eager(opened.model, images, threads)
    return lambda: run(images)
