"""Flipped bits and truncations in everything that an experiment writes, and who must find them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from data import small_sets

from prunelle.data.load import load_task
from prunelle.errors import DataError, PrunelleError
from prunelle.recipes.execute import diverged
from prunelle.runs import Run

from .verdict import refused

Reader = Callable[[], str | None]
"""None when the damage was refused properly, else what went wrong."""


@dataclass(frozen=True)
class Target:
    """A file that can be damaged and the reader that must notice."""

    path: Path
    read: Reader


def experiment(folder: Path) -> Path:
    """A pruned experiment on digits, one epoch a stage, with a checkpoint as a kill would leave one."""
    from prunelle.cli.main import answer

    assert answer(["run", "quickstart", "--set", "seeds=1", "--set", "epochs=1", "--out", str(folder)]) == 0
    run = Run(next((folder / "runs").iterdir()), 0)
    run.save_checkpoint("dense", {"weights:fc.weight": torch.arange(60.0).view(6, 10)}, {"epoch": 3, "best_val": None})
    return folder


def targets(out: Path) -> list[Target]:
    """Every file below `out` whose damage must be found."""
    found = [target(out / name, ["measure", str(out)]) for name in ("model.json", "model.safetensors")]
    found.append(target(out / "recipe.json", ["report", str(out)]))
    for run in sorted((out / "runs").iterdir()):
        found += [
            target(run / "model" / path.name, ["measure", str(run / "model")]) for path in (run / "model").iterdir()
        ]
        found += [target(run / name, ["report", str(out)]) for name in ("settings.json", "card.json", "metrics.jsonl")]
        found.append(Target(run / "trained.json", calling(lambda run=run: diverged(Run(run, 0)))))  # type: ignore[misc]
        for path in run.glob("*.checkpoint"):
            read = calling(lambda run=run, path=path: Run(run, 0).load_checkpoint(path.stem))  # type: ignore[misc]
            found.append(Target(path, read))
    return found


def data_targets(root: Path) -> list[Target]:
    """Small data sets in every layout. They carry few checksums, so a load is fine too; another error is not."""
    root.mkdir(exist_ok=True)
    small_sets.write_mnist(root / "mnist", 12, 10, ending=".gz")
    small_sets.write_cifar10(root / "cifar10", 2)
    small_sets.write_npz(root / "x.npz")
    small_sets.write_images(root / "pets", num=6, ending=".png")
    found = []
    for name, below in (("mnist", "mnist"), ("cifar10", "cifar10"), (root / "x.npz", "x.npz"), (root / "pets", "pets")):
        files = [root / below] if below == "x.npz" else sorted(p for p in (root / below).rglob("*") if p.is_file())
        found += [Target(path, loads_or_refuses(name, root)) for path in files]
    return found


def loads_or_refuses(name: str | Path, root: Path) -> Reader:
    def read() -> str | None:
        try:
            load_task(name, data_dir=root)
        except DataError as error:
            return None if "\n" not in str(error) and str(root) in str(error) else f"said {error!r}"
        except Exception as error:
            return f"raised {error!r}"
        return None

    return read


def target(path: Path, arguments: list[str]) -> Target:
    return Target(path, lambda: refused(arguments))


def calling(function: Callable[[], object]) -> Reader:
    """A reader that has no verb of its own."""

    def read() -> str | None:
        try:
            function()
        except PrunelleError as error:
            return None if error.exit_code == 2 and "\n" not in str(error) else f"said {error!r}"
        except Exception as error:
            return f"raised {error!r}"
        return "was not found"

    return read


def damages(found: list[Target], count: int, seed: int = 0) -> Iterator[tuple[str, Target]]:
    """(what was done, target) while the damage stands: flips near both ends and anywhere, and truncations, in turns."""
    draw = random.Random(seed)
    for number in range(count):
        one = found[number % len(found)]
        content = one.path.read_bytes()
        what, bytes_ = damaged(content, number // len(found), draw)
        with put(one.path, bytes_):
            yield f"{one.path.name}: {what}", one


def damaged(content: bytes, turn: int, draw: random.Random) -> tuple[str, bytes]:
    """One bit flipped, or the end cut off."""
    if turn % 5 == 4:
        at = draw.randrange(len(content))
        return f"cut to {at} of {len(content)} bytes", content[:at]
    near = draw.randrange(min(len(content), 200))
    space = draw.choice([i for i, byte in enumerate(content[:4096]) if byte in b" \n"] or [near])
    at = (draw.randrange(len(content)), near, len(content) - 1 - near, space)[turn % 5]
    bit = draw.randrange(8)
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return f"bit {bit} of byte {at} flipped", bytes(changed)


@contextmanager
def put(path: Path, content: bytes) -> Iterator[None]:
    """Other bytes in a file, for a moment."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
