"""Shipping a model as one small file, refused where it is not small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from prunelle.files import atomic_write
from prunelle.models.open import open_model
from prunelle.models.packed.container import decode
from prunelle.models.packed.model import to_bytes
from prunelle.ship.gate import smaller
from prunelle.ship.sizes import dense_bytes


def write_packed(model: nn.Module, path: str | Path, **about: Any) -> int:
    """Write `model` to the packed file `path`, so that `open_model(path)` gives it back bit for bit; the bytes are
    decoded once before they are written.

    about: builder, preprocessing, class_names, cuts, as models.save.save takes them. Returns size_bytes, by os.stat.
    Raises LimitError, and writes nothing, when the file would not be smaller than the dense weights as safetensors;
    DiskError, ModelError.
    """
    path = Path(path)
    raw = to_bytes(model, **about)
    smaller(f"{path}", len(raw), dense_bytes(model, path.parent))
    decode(raw, str(path), lambda about, outlines: None)
    atomic_write(path, raw)
    return path.stat().st_size


def pack_saved(saved: str | Path, path: str | Path, trust: bool = False) -> int:
    """Pack a saved folder into the file `path`. Returns size_bytes. Raises as `write_packed` and `open_model`."""
    opened = open_model(str(saved), trust=trust)
    return write_packed(
        opened.model,
        path,
        builder=opened.builder,
        preprocessing=opened.preprocessing,
        class_names=opened.class_names,
        cuts=opened.cuts,
    )
