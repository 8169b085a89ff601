"""A training as named tensors and plain values, and back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.train.precision import Scale
from prunelle.train.step import TrainState

if TYPE_CHECKING:
    from prunelle.train.loop import Progress


def pack(state: TrainState, best: dict[str, Tensor], progress: Progress) -> tuple[dict[str, Tensor], dict]:
    """(tensors, info) for Run.save_checkpoint: everything the rest of the training depends on."""
    tensors = {f"weights:{name}": w for name, w in state.weights.items()}
    tensors |= {f"buffers:{name}": b for name, b in state.buffers.items()}
    tensors |= {f"best:{name}": b for name, b in best.items()}
    for quantity, values in state.optimizer.items():
        tensors |= {f"{quantity}:{name}": t for name, t in zip(state.weights, values, strict=True)}
    info = dataclasses.asdict(progress)
    # JSON has no infinity; a loss before the first validation is stored as null.
    info["best_val"] = None if progress.best_epoch == 0 else progress.best_val
    info["threads"], info["torch"] = torch.get_num_threads(), torch.__version__
    return tensors, info


def unpack_(state: TrainState, progress: Progress, tensors: dict[str, Tensor], info: dict) -> dict[str, Tensor]:
    """Fill state and progress in place from a checkpoint. Returns the best snapshot, empty when there is none.

    Raises CorruptFileError when the checkpoint is of another model.
    """
    try:
        with torch.no_grad():
            for name, w in state.weights.items():
                w.copy_(tensors[f"weights:{name}"])
            for name, b in state.buffers.items():
                b.copy_(tensors[f"buffers:{name}"])
            for quantity, values in state.optimizer.items():
                for name, t in zip(state.weights, values, strict=True):
                    t.copy_(tensors[f"{quantity}:{name}"])
    except (KeyError, RuntimeError) as error:
        raise CorruptFileError(f"checkpoint: is of another model ({error}); delete it and start again.") from None
    for field in dataclasses.fields(progress):
        if info.get(field.name) is not None:
            value = info[field.name]
            setattr(progress, field.name, Scale(**value) if field.name == "scale" else value)
    return {name.removeprefix("best:"): t for name, t in tensors.items() if name.startswith("best:")}
