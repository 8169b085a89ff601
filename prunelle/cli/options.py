"""Options that mean the same in every verb, and how their words are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prunelle.engines.local import num_cores
from prunelle.errors import SettingError
from prunelle.recipes.check import check_device_word

Model = Annotated[str, typer.Argument(help="A name, timm:NAME, file.py:factory or a saved folder.", metavar="MODEL")]
Weights = Annotated[
    str | None, typer.Option("--weights", help="Trained weights: .safetensors, or .pth (weights only).")
]
Input = Annotated[str | None, typer.Option("--input", help="Image shape C,H,W, where the data does not tell it.")]
Data = Annotated[
    str, typer.Option("--data", help="digits, mnist, fashion-mnist, cifar10, cifar100, a folder or a .npz.")
]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Where data sets lie (else PRUNELLE_DATA, the cache).")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="PyTorch threads a process.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes, at most the cores.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="From which all randomness comes.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything; started again, it goes on where it stood.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print plan, minutes and disk, and do nothing.")]
Trust = Annotated[bool, typer.Option("--trust", help="Allow a model that is a user's file: it runs that code.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value of the recipe; may be repeated.")]


def shape(text: str | None) -> tuple[int, int, int] | None:
    """'3,32,32' -> (3, 32, 32). Raises SettingError."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and 0 < int(part) < 2**16 for part in parts):
        raise SettingError(f"--input {text!r}: must be C,H,W, three whole numbers above 0 such as 3,32,32.")
    channels, height, width = map(int, parts)
    return channels, height, width


def settings(pairs: list[str] | None) -> dict[str, object]:
    """['epochs=3'] -> {'epochs': 3}; a value that is no JSON is a word. Raises SettingError."""
    found: dict[str, object] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingError(f"--set {pair}: must be key=value.")
        if key in found:
            raise SettingError(f"--set {key}: is given twice; give it once.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def layout(num_runs: int, threads: int | None, workers: int | None, device: str) -> tuple[int, int]:
    """(threads, workers): several runs share the cores by processes of one thread, a single one by threads.

    Raises SettingError when both together are more than the cores.
    """
    check_device_word(device)
    if workers is None:
        fits = max(1, num_cores() // (threads or 1))
        workers = 1 if device != "cpu" else min(num_runs, fits)
    if threads is None:
        threads = 1 if num_runs > 1 else num_cores()
    if workers > 1 and threads > 1:
        raise SettingError(
            f"--threads {threads} --workers {workers}: several workers have one thread each; leave one out."
        )
    if workers * threads > num_cores():
        raise SettingError(
            f"--threads {threads} --workers {workers}: is more than this machine's {num_cores()} cores, which makes "
            "everything slower; ask for less."
        )
    return threads, workers
