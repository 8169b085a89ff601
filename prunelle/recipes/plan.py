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

    threads: while training. measure_threads: while one image is timed, where more only wait for each other.

    checkpoint_seconds: how much training a kill may cost. command: the line that asked for it, for the report.
    """

    out: Path
    data_dir: str | None = None
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    trust: bool = False
    measure_seconds: float = 5.0
    measure_samples: int = 1000
    measure_threads: int = 1
    checkpoint_seconds: float = 20.0
    command: str = ""


@dataclass(frozen=True)
class PlannedRun:
    """One run to be made: settings give its folder's name. dense: the settings of the run it starts from."""

    variant: Variant
    cell: Cell
    seed: int
    settings: dict
    dense: PlannedRun | None = None


def plan(recipe: Recipe, fingerprints: dict[str, str], brought: dict[str, str] | None = None) -> list[PlannedRun]:
    """All runs, dense ones first, none twice.

    fingerprints: of each data set that the recipe names. brought: as from `brought_by`, which is asked when None.
    """
    brought = brought_by(recipe) if brought is None else brought
    dense_runs: dict[str, PlannedRun] = {}
    pruned_runs: dict[str, PlannedRun] = {}
    for cell in recipe.cells:
        for seed in recipe.seeds:
            dense = plan_dense(cell, seed, fingerprints[cell.data], brought)
            dense = dense_runs.setdefault(repr((dense.settings, dense.seed)), dense)
            if cell.stages:
                settings = {
                    "dense": dense.settings | {"seed": dense.seed},
                    "stages": [stage.model_dump(mode="json") for stage in cell.stages],
                }
                planned = PlannedRun("pruned", cell, seed, settings, dense)
                pruned_runs.setdefault(repr((settings, seed)), planned)
    return [*dense_runs.values(), *pruned_runs.values()]


def plan_dense(cell: Cell, seed: int, fingerprint: str, brought: dict[str, str]) -> PlannedRun:
    """The run that trains, or takes over, the dense network of a cell."""
    weights = brought.get(f"weights {cell.weights}") or brought.get(f"folder {cell.model}")
    settings = {
        "model": cell.model,
        "input_shape": list(cell.input_shape) if cell.input_shape else None,
        "weights": weights,
        "data": fingerprint,
        "training": cell.dense.model_dump(mode="json") if cell.dense else None,
    }
    code = brought.get(f"code {cell.model}")
    if code:
        settings["code"] = code
    # A network that is brought and not trained is the same for every seed.
    return PlannedRun("dense", cell, seed if cell.dense or not weights else 0, settings)


def brought_by(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every file of a user's that a recipe starts from, by "weights FILE", "folder DIR" or "code SPEC".

    It is part of the runs' names, and written down so that they are found again when the files are gone.
    Raises CorruptFileError where one cannot be read.
    """
    found: dict[str, str] = {}
    for cell in recipe.cells:
        if Path(cell.model).is_dir():
            found[f"folder {cell.model}"] = "/".join(read_folder(cell.model)[0].files.values())
        if cell.weights:
            found[f"weights {cell.weights}"] = sha256(read_bytes(Path(cell.weights)))
        if ".py:" in cell.model:
            found[f"code {cell.model}"] = sha256(read_bytes(Path(cell.model.rpartition(":")[0])))
    return found
