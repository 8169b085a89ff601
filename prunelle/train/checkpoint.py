"""A training as named tensors and plain values, and back."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.train.precision import Scale
from prunelle.train.progress import Progress
from prunelle.train.step import TrainState

Kept = dict[str, dict[str, Tensor]]
"""What a training holds besides its state, by purpose, then by name: best, good, mean, held."""


def pack(state: TrainState, kept: Kept, progress: Progress) -> tuple[dict[str, Tensor], dict]:
    """(tensors, info) for Run.save_checkpoint: everything the rest of the training depends on."""
    tensors = {f"weights:{name}": w for name, w in state.weights.items()}
    tensors |= {f"buffers:{name}": b for name, b in state.buffers.items()}
    for quantity, values in state.optimizer.items():
        tensors |= {f"optimizer:{quantity}:{name}": t for name, t in zip(state.weights, values, strict=True)}
    for purpose, group in kept.items():
        tensors |= {f"kept:{purpose}:{name}": t for name, t in group.items()}
    info = dataclasses.asdict(progress)
    # JSON has no infinity; a loss before the first validation is stored as null.
    info["best_val"] = None if progress.best_epoch == 0 else progress.best_val
    info["gain_val"] = None if progress.gain_epoch == 0 else progress.gain_val
    info["threads"], info["torch"] = torch.get_num_threads(), torch.__version__
    return tensors, info


def unpack_(state: TrainState, progress: Progress, tensors: dict[str, Tensor], info: dict) -> Kept:
    """Fill state and progress in place from a checkpoint. Returns what was kept beside them.

    Raises CorruptFileError when the checkpoint is of another model or optimizer.
    """
    wanted, _ = pack(state, {}, progress)
    given = {name: t for name, t in tensors.items() if not name.startswith("kept:")}
    for name in sorted(wanted.keys() | given.keys()):
        if name not in wanted or name not in given or wanted[name].shape != given[name].shape:
            raise CorruptFileError(f"checkpoint: is of another model ({name} differs); delete it and start again.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])
    for field in dataclasses.fields(progress):
        if info.get(field.name) is not None:
            value = info[field.name]
            setattr(progress, field.name, Scale(**value) if field.name == "scale" else value)
    return kept_of(tensors)


def kept_of(tensors: dict[str, Tensor]) -> Kept:
    """What a checkpoint holds besides the state. Of a training that has ended "good" are the last epoch's weights,
    or their average where it has one."""
    kept: Kept = {}
    for name, tensor in tensors.items():
        if name.startswith("kept:"):
            _, purpose, own = name.split(":", 2)
            kept.setdefault(purpose, {})[own] = tensor
    return kept
