"""The files of a native folder: what is written, and native.json, which tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelle.errors import CorruptFileError
from prunelle.files import atomic_write, make_folder, read_sealed_json, sha256, write_sealed_json
from prunelle.ship.c.ops import Linear
from prunelle.ship.c.taps import TapConv, Windows
from prunelle.ship.c_plan import Choice, Plan

NEEDED = ("name", "target", "workspace_bytes", "input_shape", "output_shape", "library", "sha256")


def write_folder(folder: Path, record: dict[str, Any], source: str, head: str, main: str, library: Path) -> None:
    """All files, native.json last. Raises DiskError."""
    make_folder(folder)
    name = record["name"]
    atomic_write(folder / f"{name}.c", source.encode())
    atomic_write(folder / f"{name}.h", head.encode())
    atomic_write(folder / "main.c", main.encode())
    code = library.read_bytes()
    atomic_write(folder / record["library"], code)
    (folder / record["library"]).chmod(0o755)
    write_sealed_json(folder / "native.json", {**record, "sha256": sha256(code)})


def describe(plan: Plan, index: int, choices: dict[int, Choice]) -> dict[str, Any]:
    """A layer as the record tells it: name, kernel, multiply-adds with and without its zeros."""
    op, choice = plan.ops[index], choices.get(index, next(iter(plan.variants(index)), ""))
    dense, macs = 0, 0
    if isinstance(op, TapConv | Windows):
        dense, macs = op.dense_macs, op.macs
    elif isinstance(op, Linear):
        dense, macs = op.weight.size, int((op.weight != 0).sum())
    kernel = choice if isinstance(choice, str) else choice.name
    label = type(op).__name__.lower().replace("tapconv", "conv")
    return {"layer": op.name, "kind": label, "kernel": kernel, "dense_macs": dense, "macs": macs}


def read_record(path: Path) -> dict[str, Any]:
    """native.json with all that loading needs. Raises CorruptFileError."""
    record = read_sealed_json(path)
    if missing := [key for key in NEEDED if key not in record]:
        raise CorruptFileError(f"{path}: says nothing of {', '.join(missing)}; build the library again.")
    return record
