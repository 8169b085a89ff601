"""Making one run: train or take over, prune, save. What a worker process does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.errors import DivergedError, ModelError, WorkError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.graph.cuts import Cuts
from prunelle.models.open import check_fits, open_model
from prunelle.models.save import Builder, load, read_folder, save
from prunelle.recipes.check import check_input
from prunelle.recipes.plan import Place, PlannedRun
from prunelle.recipes.settings import Cell, Recipe
from prunelle.recipes.words import step, train_settings
from prunelle.runs import Run
from prunelle.steps import Chain, Step
from prunelle.train.ddp import join
from prunelle.train.stage import Train

TRAINED = "trained.json"
MODEL = "model"


@runtime_checkable
class Cutting(Protocol):
    """A step that changes shapes."""

    def cuts(self, run: Run) -> Cuts:
        """What it has cut in this run."""


@lru_cache(maxsize=2)
def task_of(data: str, data_dir: str | None, device: str) -> Task:
    """The task, read once a process."""
    return load_task(data, data_dir=data_dir, device=device)


def tasks_of(recipe: Recipe, place: Place) -> dict[str, Task]:
    """Each data set that the recipe names. Raises DataError, SettingError for a cell with other images."""
    tasks = {cell.data: task_of(cell.data, place.data_dir, place.device) for cell in recipe.cells}
    for cell in recipe.cells:
        check_input(cell.input_shape, tasks[cell.data].input_shape, cell.data)
    return tasks


def open_run(planned: PlannedRun, place: Place) -> Run:
    return Run.open(place.out / "runs", planned.settings, planned.seed, place.device)


def is_trained(run: Run) -> bool:
    return run.done or (run.folder / TRAINED).exists()


def diverged(run: Run) -> bool:
    """Whether training broke off; the saved model is then the last good one."""
    return bool(read_sealed_json(run.folder / TRAINED).get("diverged"))


def told_by(run: Run) -> dict[str, Any]:
    """What the steps of a run had to tell, by their names."""
    return dict(read_sealed_json(run.folder / TRAINED).get("about") or {})


def execute(job: dict, shared: object = None) -> None:
    """Make one run unless it stands. job: {"planned": PlannedRun, "place": Place}. shared: not used."""
    planned: PlannedRun = job["planned"]
    place: Place = job["place"]
    run = open_run(planned, place)
    ranks = join(run.device)
    trained = is_trained(run)
    ranks.barrier()
    if trained:
        return
    with run.locked() if ranks.rank == 0 else nullcontext():
        task = task_of(planned.cell.data, place.data_dir, place.device)
        if planned.dense is None:
            make_dense(planned.cell, planned.seed, task, run, place)
        else:
            make_pruned(planned.cell, task, run, open_run(planned.dense, place), place)


def make_dense(cell: Cell, seed: int, task: Task, run: Run, place: Place) -> None:
    """The dense network, as a saved folder of the run."""
    known = Path(cell.model).is_dir()
    opened = open_model(
        cell.model,
        weights=cell.weights,
        input_shape=None if known else (cell.input_shape or task.input_shape),
        num_classes=None if known else task.num_classes,
        trust=place.trust,
        seed=seed,
    )
    check_fits(opened, cell.model, task)
    model, broke = opened.model, False
    if cell.dense:
        try:
            model = Train(train_settings(cell.dense, place.checkpoint_seconds), "dense")(model, task, run)
        except DivergedError as error:
            model, broke = error.last_good, True
    keep(model, opened.builder, opened.cuts, task, run, broke)


def make_pruned(cell: Cell, task: Task, run: Run, dense_run: Run, place: Place) -> None:
    """The pruned network, made from the dense run's, as a saved folder of the run."""
    manifest, _ = read_folder(dense_run.folder / MODEL)
    dense = load(dense_run.folder / MODEL, trust=place.trust).to(run.device)
    model: nn.Module = dense
    broke = False
    try:
        names = [f"{number}-{stage.kind}" for number, stage in enumerate(cell.stages)]
        pairs = zip(cell.stages, names, strict=True)
        steps = tuple(step(stage, name, dense, place.checkpoint_seconds) for stage, name in pairs)
        model = Chain(steps)(dense, task, run)
    except DivergedError as error:
        model, broke = error.last_good, True
    except ModelError as error:  # it was opened and run before, so this is about what was to be done to it
        raise WorkError(str(error)) from None
    cuts = cuts_made(steps, manifest.cuts, run)
    keep(model, manifest.builder, cuts, task, run, broke or diverged(dense_run), about(steps, run))


def about(steps: Sequence[Step], run: Run) -> dict[str, Any]:
    """What the steps that cut have to tell of this run, such as times that they measured, by the steps' names."""
    found = {one.name: run.load_checkpoint(one.name) for one in steps if isinstance(one, Cutting)}
    return {name: checkpoint[1].get("about", {}) for name, checkpoint in found.items() if checkpoint is not None}


def cuts_made(steps: Sequence[Step], cuts: Cuts, run: Run) -> Cuts:
    """`cuts`, and after them those that these steps have made in this run."""
    for one in steps:
        if isinstance(one, Cutting):
            cuts = cuts.then(one.cuts(run))
    return cuts


def keep(
    model: nn.Module,
    builder: Builder | None,
    cuts: Cuts,
    task: Task,
    run: Run,
    broke: bool,
    about: dict[str, Any] | None = None,
) -> None:
    """Save a run's network and say that it stands; of several ranks the first does, and the others wait. about: what
    is told of how it was made."""
    ranks = join(run.device)
    if ranks.rank == 0:
        folder = run.folder / MODEL
        names = task.class_names
        save(model.cpu(), folder, builder=builder, preprocessing=task.preprocessing, class_names=names, cuts=cuts)
        write_sealed_json(run.folder / TRAINED, {"diverged": broke, "about": about or {}})
        run.drop_checkpoints()
    ranks.barrier()
