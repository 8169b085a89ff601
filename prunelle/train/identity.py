"""What a training is, as one hash: a checkpoint of another one is refused instead of taken for this one's."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import torch
from torch import nn

from prunelle.files import sha256

WITHOUT_EFFECT = ("checkpoint_seconds", "checkpoint_steps")
"""Settings that change no result."""


def identity(step: Any, model: nn.Module) -> str:
    """SHA-256 of a step's settings and of the weights it starts from; equal for equal ones in every process.

    step: a frozen dataclass. model: as the step was given it.

    >>> from prunelle.train.settings import TrainSettings
    >>> net = nn.Linear(2, 2)
    >>> identity(TrainSettings(3, lr=0.1), net) == identity(TrainSettings(3, lr=0.2), net)
    False
    """
    return sha256(f"{plain(step)} {weights_hash(model)}".encode())


def plain(value: Any) -> str:
    """A value as text without addresses: functions by name, dataclasses by field, modules by their weights."""
    if isinstance(value, nn.Module):
        return f"{type(value).__qualname__} {weights_hash(value)}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if is_said(field, getattr(value, field.name))]
        parts = ", ".join(f"{name}={plain(getattr(value, name))}" for name in names)
        return f"{type(value).__qualname__}({parts})"
    if isinstance(value, functools.partial):
        return f"{plain(value.func)} {plain(value.args)} {plain(tuple(sorted(value.keywords.items())))}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(plain, value))}]"
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)


def is_said(field: dataclasses.Field, value: Any) -> bool:
    """Whether a dataclass's field is part of what it is; see train.settings.UNSAID."""
    return field.name not in WITHOUT_EFFECT and not (field.metadata.get("unsaid") and value == field.default)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over the bytes of all parameters and buffers, in their order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
