"""Trained weights from a file into a model. No file is ever unpickled freely: a hostile one is refused, not run."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from prunelle.errors import WeightsError
from prunelle.models.names import first_line

_SUFFIXES = (".safetensors", ".pth", ".pt", ".th")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_SAME_LAYER = ((".shortcut.", ".downsample."), ("linear.", "fc."), ("classifier.", "fc."), ("classifier.", "linear."))
"""What published residual networks call one and the same layer."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict, on the CPU.

    path: .safetensors, or .pth, .pt, .th as torch.save writes them, read with weights_only=True. A dict under
    'state_dict', 'model_state_dict', 'model' or 'net' is unwrapped; 'module.' (DataParallel) before every name is cut.
    Returns {name: tensor} as stored: whether names, shapes and values fit is for `fit_weights_` to say.
    Raises WeightsError on whatever is missing, damaged, of another kind or would run code.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"{path}: weights are read from {', '.join(_SUFFIXES)}; save them as one of these.")
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; check the path.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: holds a {type(content).__name__}, must hold a state dict: model.state_dict().")
    weights: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path}: {name!r} is a {type(value).__name__}, a state dict holds named tensors only.")
        weights[name] = value
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def _read_safetensors(path: Path) -> Any:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:
        raise WeightsError(f"{path}: is no readable safetensors file ({first_line(error)}); fetch it again.") from error


def _read_torch(path: Path) -> Any:
    _check_unpacked(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch.load remarks about odd files ends in an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path}: is damaged or holds more than tensors, which would run code ({type(error).__name__}); "
            "save model.state_dict() alone, best as .safetensors."
        ) from error


def _check_unpacked(path: Path) -> None:
    """torch.save stores and never deflates: a zip that unpacks to far more than it is was made to fill memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # an old file, or a damaged one that torch.load refuses
    if num_bytes > 2 * path.stat().st_size + 2**20:
        raise WeightsError(f"{path}: unpacks to {num_bytes:,} bytes, torch.save writes no such file; save it again.")


def fit_weights_(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy `weights` into `model`; all of them or, on an error, none.

    weights: {name: tensor}; dtypes are converted between float kinds. A name that the model lacks is also looked for
    as other authors of residual networks call that layer: linear or classifier for fc, shortcut for downsample.
    num_batches_tracked is ignored on both sides. where: the file, for the message.
    Raises WeightsError: names or shapes differ, a tensor is of another kind, or holds NaN or infinity.
    """
    target = {name: value for name, value in model.state_dict().items() if _is_loaded(name, value)}
    source: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for name, value in weights.items():
        if name.endswith("num_batches_tracked"):
            continue
        known = _name_in(target, name)
        if known is None or known in source:
            unexpected.append(name)
        else:
            source[known] = value
    missing = [name for name in target if name not in source]
    misshapen = [name for name, value in source.items() if value.shape != target[name].shape]
    if missing or unexpected or misshapen:
        raise WeightsError(_misfit(where, target, source, missing, unexpected, misshapen))
    ready = {name: _checked(where, name, value, target[name]) for name, value in source.items()}
    with torch.no_grad():
        for name, value in ready.items():
            target[name].copy_(value)


def _is_loaded(name: str, value: object) -> bool:
    return isinstance(value, Tensor) and not name.endswith("num_batches_tracked")


def _name_in(target: Mapping[str, Tensor], name: str) -> str | None:
    """The model's name for what the file calls `name`; None where it has no such thing."""
    if name in target:
        return name
    for pair in _SAME_LAYER:
        for theirs, ours in (pair, pair[::-1]):
            inside = theirs.startswith(".")
            if (inside and theirs in name) or name.startswith(theirs):
                renamed = name.replace(theirs, ours, 1)
                if renamed in target:
                    return renamed
    return None


def _misfit(
    where: str,
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    misshapen: list[str],
) -> str:
    if misshapen:
        name = misshapen[0]
        example = f"{name} is {tuple(source[name].shape)} in the file and {tuple(target[name].shape)} in the model"
    elif missing:
        example = f"the file lacks {missing[0]} {tuple(target[missing[0]].shape)}"
    else:
        example = f"the model has no {unexpected[0]}"
    return (
        f"{where}: does not fit the model: {len(missing)} of {len(target)} tensors missing, {len(unexpected)} "
        f"unexpected, {len(misshapen)} of another shape, first {example}; "
        "pass the weights of this very model, with its number of classes and input shape."
    )


def _checked(where: str, name: str, value: Tensor, target: Tensor) -> Tensor:
    """`value` in the target's dtype. Raises WeightsError where that would lose its meaning."""
    plain = value.layout == torch.strided and not value.is_quantized and value.device.type != "meta"
    if not plain or value.is_floating_point() != target.is_floating_point() or value.is_complex():
        raise WeightsError(
            f"{where}: {name} is {value.dtype} ({value.layout}), must be a dense {target.dtype}; convert it first."
        )
    value = value.to(target.dtype)
    if not bool(torch.isfinite(value).all()):
        raise WeightsError(
            f"{where}: {name} holds NaN or infinity as {target.dtype}; take weights of a run that did not diverge."
        )
    return value
