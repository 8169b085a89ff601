"""How many bytes the same network takes in other forms; each is written out and asked for by os.stat."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save
from torch import nn

from prunelle.files import atomic_write


def dense_bytes(model: nn.Module, folder: Path) -> int:
    """Bytes of a .safetensors file with every tensor of the model as it is, zeros written out, in `folder`.

    A tensor that goes by several names is written once, as in a saved folder. Raises DiskError.
    """
    kept = {name: value.detach().clone() for name, value in once(model).items()}
    path = folder / "dense.safetensors"
    atomic_write(path, save(kept))
    size = path.stat().st_size
    path.unlink()
    return size


def once(model: nn.Module) -> dict:
    """The model's state, of tensors that share their memory only the first."""
    seen: set[tuple] = set()
    found = {}
    for name, value in model.state_dict().items():
        key = (value.data_ptr(), value.shape, value.stride())
        if not value.numel() or key not in seen:
            seen.add(key)
            found[name] = value.contiguous()
    return found
