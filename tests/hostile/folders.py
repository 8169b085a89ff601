"""Saved folders whose seals an attacker computed anew around hostile content."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch

from prunelle.files import EMPTY_SEAL, sha256
from prunelle.models.save import Builder, save

Change = Callable[[dict], object]


def honest(folder: Path, spec: str = "lenet_300_100", sparse: bool = False) -> Path:
    """A small saved model that nothing is wrong with."""
    builder = Builder(spec=spec, input_shape=[1, 8, 8], num_classes=10)
    model = builder.make()
    if sparse:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(torch.rand_like(parameter) > 0.9)
    save(model, folder, builder=builder)
    return folder


def seal(path: Path, text: str) -> None:
    """Write a JSON text in which the seal's digits are zero, with the seal that belongs to it."""
    raw = text.encode("utf-8", "surrogatepass")
    path.write_bytes(raw.replace(EMPTY_SEAL.encode(), sha256(raw).encode(), 1))


def resealed(path: Path, change: Change) -> None:
    """Change the object in a sealed JSON file and seal it again."""
    values = json.loads(path.read_text()) | {"seal": EMPTY_SEAL}
    change(values)
    seal(path, json.dumps(values))


def put_text(path: Path, key: str, text: str) -> None:
    """Replace a key's value by raw JSON text, which json.dumps may not be able to write, and seal it again."""
    values = json.loads(path.read_text()) | {"seal": EMPTY_SEAL, key: "@@"}
    seal(path, json.dumps(values).replace('"@@"', text))


def put_weights(folder: Path, raw: bytes) -> None:
    """Other bytes as model.safetensors, with their own hash in the manifest."""
    (folder / "model.safetensors").write_bytes(raw)
    resealed(folder / "model.json", lambda m: m.update(files={"model.safetensors": sha256(raw)}))


def header(entries: dict | str, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(dtype: str, shape: list, offsets: list) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}
