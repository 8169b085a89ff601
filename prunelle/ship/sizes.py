"""How many bytes the same network takes in other forms; each is written out and asked for by os.stat."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save
from torch import nn

from prunelle.errors import PrunelleError
from prunelle.files import atomic_write

if TYPE_CHECKING:
    from prunelle.ship.formats import Order


def sizes_of(order: Order, beside: Path, forms: tuple[str, ...] = ("packed", "native")) -> dict[str, int | None]:
    """Bytes of the dense weights as safetensors, under dense_safetensors, and of each form, by its name; None where a
    form cannot be made here, or would not be small where it is to be. `beside`: a folder for what is written and gone.

    Raises DiskError.
    """
    from prunelle.ship.formats import load_format
    from prunelle.ship.shipped import list_files, running_bytes

    with tempfile.TemporaryDirectory(dir=beside, prefix=".sizes-", suffix=".tmp") as made:
        folder = Path(made)
        found: dict[str, int | None] = {"dense_safetensors": dense_bytes(order.model, folder)}
        for name in forms:
            place = folder / name
            place.mkdir()
            try:
                load_format(name).write(order, place)
                found[name] = running_bytes(list_files(place, name))
            except PrunelleError:
                found[name] = None
    return found


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
