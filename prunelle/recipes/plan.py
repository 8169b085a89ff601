"""A recipe as runs: which there are, in which order, and which stands on which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunelle.files import read_bytes, sha256
from prunelle.models.save import read_folder
from prunelle.recipes.settings import Cell, Recipe

Variant = Literal["dense", "pruned"]


@dataclass(frozen=True)
class Place:
    """Where and with what an experiment runs; none of it changes a result but device and threads.

    checkpoint_seconds: how much training a kill may cost.
    """

    out: Path
    data_dir: str | None = None
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    trust: bool = False
    measure_seconds: float = 5.0
    measure_samples: int = 1000
    checkpoint_seconds: float = 20.0


@dataclass(frozen=True)
class PlannedRun:
    """One run to be made: settings give its folder's name. dense: the settings of the run it starts from."""

    variant: Variant
    cell: Cell
    seed: int
    settings: dict
    dense: PlannedRun | None = None


def plan(recipe: Recipe, fingerprints: dict[str, str]) -> list[PlannedRun]:
    """All runs, dense ones first, none twice. fingerprints: of each data set that the recipe names."""
    dense_runs: dict[str, PlannedRun] = {}
    pruned_runs: dict[str, PlannedRun] = {}
    for cell in recipe.cells:
        for seed in recipe.seeds:
            dense = plan_dense(cell, seed, fingerprints[cell.data])
            dense = dense_runs.setdefault(repr((dense.settings, dense.seed)), dense)
            if cell.stages:
                settings = {
                    "dense": dense.settings | {"seed": dense.seed},
                    "stages": [stage.model_dump(mode="json") for stage in cell.stages],
                }
                planned = PlannedRun("pruned", cell, seed, settings, dense)
                pruned_runs.setdefault(repr((settings, seed)), planned)
    return [*dense_runs.values(), *pruned_runs.values()]


def plan_dense(cell: Cell, seed: int, fingerprint: str) -> PlannedRun:
    """The run that trains, or takes over, the dense network of a cell. Raises CorruptFileError where a file it brings
    cannot be read."""
    brought = model_hash(cell)
    settings = {
        "model": cell.model,
        "input_shape": list(cell.input_shape) if cell.input_shape else None,
        "weights": brought,
        "data": fingerprint,
        "training": cell.dense.model_dump(mode="json") if cell.dense else None,
    }
    if ".py:" in cell.model:
        settings["code"] = sha256(read_bytes(Path(cell.model.rpartition(":")[0])))
    # A network that is brought and not trained is the same for every seed.
    return PlannedRun("dense", cell, seed if cell.dense or not brought else 0, settings)


def model_hash(cell: Cell) -> str | None:
    """SHA-256 of the weights that a cell brings, None when they are drawn at random."""
    if Path(cell.model).is_dir():
        return "/".join(read_folder(cell.model)[0].files.values())
    return sha256(read_bytes(Path(cell.weights))) if cell.weights else None
