"""How tensors are stored: a pruned one as one bit a weight and the kept values, so that zeros cost 1/32 of a float."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from prunelle.errors import CorruptFileError

INTEGERS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
INTEGERS |= {torch.float64: torch.int64}


def pack(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]], dict[str, str]]:
    """Tensors by name -> (what to store, shapes of the packed ones, names that share another's storage).

    A float tensor is packed where that is smaller: `bits:NAME` (uint8, little bit order) says which elements are not
    +0, `values:NAME` holds those. Nothing is lost: -0 and NaN are values. The others keep their plain names, so that a
    dense model's file is a checkpoint like any other.
    """
    stored: dict[str, Tensor] = {}
    packed: dict[str, list[int]] = {}
    aliases = aliases_of(tensors)
    for name, tensor in tensors.items():
        if name in aliases:
            continue
        plain = tensor.detach().cpu().contiguous()
        kept = nonzero_bits(plain)
        if kept is not None and kept.numel() / 8 + int(kept.sum()) * plain.itemsize < plain.numel() * plain.itemsize:
            stored[f"bits:{name}"] = torch.from_numpy(np.packbits(kept.numpy(), bitorder="little"))
            stored[f"values:{name}"] = plain.view(-1)[kept].clone()
            packed[name] = list(tensor.shape)
        else:
            stored[name] = plain.clone()
    return stored, packed, aliases


def aliases_of(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Names of tensors that share their whole storage with one before -> the name of that one."""
    aliases: dict[str, str] = {}
    first: dict[tuple, str] = {}
    for name, tensor in tensors.items():
        key = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
    return aliases


def nonzero_bits(tensor: Tensor) -> Tensor | None:
    """(numel,) bool, True where any bit is set; None for types that are never packed."""
    integer = INTEGERS.get(tensor.dtype)
    return None if integer is None or tensor.numel() == 0 else tensor.view(-1).view(integer) != 0


def unpack(stored: dict[str, Tensor], packed: dict[str, list[int]], aliases: dict[str, str]) -> dict[str, Tensor]:
    """The inverse of `pack`. Raises CorruptFileError where parts are missing or do not fit together."""
    parts = {f"{part}:{name}" for name in packed for part in ("bits", "values")}
    found = {name: tensor for name, tensor in stored.items() if name not in parts}
    for name, shape in packed.items():
        bits, values = stored.get(f"bits:{name}"), stored.get(f"values:{name}")
        if bits is None or values is None:
            raise CorruptFileError(f"model.safetensors: the bits or values of {name} are missing.")
        found[name] = scatter(name, bits, values, shape)
    return with_aliases(found, aliases)


def with_aliases(tensors: dict[str, Tensor], aliases: dict[str, str]) -> dict[str, Tensor]:
    """The tensors and their other names. Raises CorruptFileError for a name of nothing."""
    found = dict(tensors)
    for name, original in aliases.items():
        if original not in found:
            raise CorruptFileError(f"model.json: {name} shares the storage of {original}, which is not stored.")
        found[name] = found[original]
    return found


def scatter(name: str, bits: Tensor, values: Tensor, shape: list[int]) -> Tensor:
    """One packed tensor at its full size."""
    numel = math.prod(shape)
    fits = bits.dtype == torch.uint8 and bits.ndim == 1 and bits.numel() == (numel + 7) // 8 and values.ndim == 1
    kept = np.unpackbits(bits.numpy(), count=numel, bitorder="little").view(bool) if fits else None
    if kept is None or int(kept.sum()) != values.numel():
        raise CorruptFileError(f"model.safetensors: the bits of {name} do not fit its shape {shape} and its values.")
    full = torch.zeros(numel, dtype=values.dtype)
    full[torch.from_numpy(kept)] = values
    return full.view(shape)
