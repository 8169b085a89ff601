"""The .pt2 file: PyTorch's own exported program, run by PyTorch alone."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from prunelle.errors import CorruptFileError, UntrustedCodeError, WorkError
from prunelle.files import atomic_write
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen, refuse_gpu, two_or_more


def write_pt2(model: nn.Module, example: Tensor, path: Path) -> None:
    """Export the model into a .pt2 file whose batch is free.

    example: (batch, ...) on the CPU. Raises SettingError on a GPU, WorkError when the export fails, DiskError.
    """
    refuse_gpu("pt2", example)
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = torch.export.Dim("batch")
            program = torch.export.export(frozen(model), (two_or_more(example),), dynamic_shapes=({0: batch},))
            torch.export.save(program, file)
    except Exception as error:
        raise WorkError(
            f"pt2: {type(model).__name__} could not be exported ({first_line(error)}); take another format."
        ) from error
    atomic_write(path, file.getvalue())


def open_pt2(path: Path, trust: bool = False) -> Callable[[Tensor], Tensor]:
    """A function from CPU images to the outputs of a .pt2 file, at any batch size, in inference mode.

    Raises UntrustedCodeError without trust: torch.export.load unpickles. CorruptFileError when it cannot be read.
    """
    if not trust:
        raise UntrustedCodeError(f"{path}: opening a .pt2 can run code that it holds; pass --trust if you trust it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path).module()
    except Exception as error:
        raise CorruptFileError(f"{path}: cannot be read as .pt2 ({first_line(error)}); ship it anew.") from error

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return program(images)

    return run
