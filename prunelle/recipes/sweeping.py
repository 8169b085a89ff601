"""Running a search for tickets: words become a Lottery, an engine works through it, and it is told.

OUT/sweep.json       what is searched, sealed; another search in the same folder is refused
OUT/runs/ID/         one folder a training
OUT/model.*          the winning ticket, so that OUT itself loads as a MODEL
OUT/rows.csv, rows.json, points.json, report.html; OUT/plan.json: predicted beside measured
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.engines.engine import Engine, Watch
from prunelle.engines.local import num_cores, workers_of
from prunelle.errors import RunConflictError, SettingError
from prunelle.files import atomic_write, make_folder, read_sealed_json, remove_leftovers, to_json, write_sealed_json
from prunelle.models.save import copy_saved
from prunelle.recipes.check import check_input, check_out
from prunelle.recipes.lottery import TicketRecipe
from prunelle.recipes.plan import brought_by
from prunelle.recipes.settings import Cell, Recipe
from prunelle.recipes.words import SCOPES, SCORES, train_settings
from prunelle.runs import held
from prunelle.tickets.arrangement import choose
from prunelle.tickets.finished import tidy
from prunelle.tickets.fitting import check_alike
from prunelle.tickets.grid import Grid
from prunelle.tickets.lottery import MODEL, Lottery, Place, folder_of
from prunelle.tickets.plan import Costs, plan_of
from prunelle.tickets.results import Winner, points_of, rows_of, winner
from prunelle.tickets.retire import Retirement
from prunelle.tickets.sweep import Swept, sweep

CLAIM = "sweep.json"


@dataclass(frozen=True)
class Asked:
    """Where and with what a search runs; none of it changes a result but the device."""

    out: Path
    workers: int
    engine: str = "local"
    address: str | None = None
    data_dir: str | None = None
    device: str = "cpu"
    trust: bool = False
    checkpoint_seconds: float = 20.0
    command: str = ""

    @property
    def place(self) -> Place:
        return Place(self.out, self.device, self.checkpoint_seconds)


@dataclass(frozen=True)
class Found:
    """What a search has found. best: None without any ticket. plan: as `tickets.plan.plan_of`, with measured_seconds
    where this start did all of it."""

    lottery: Lottery
    task: Task
    swept: Swept
    rows: list[dict[str, Any]]
    points: list[dict[str, Any]]
    best: Winner | None
    plan: dict[str, Any]


def run_sweep(recipe: TicketRecipe, asked: Asked, watch: Callable[[str, float], None]) -> Found:
    """Search, or go on with what of it is not done.

    Raises RunConflictError when OUT holds something else, BusyError when another process works in it, and whatever
    the trainings raise.
    """
    check_claim(recipe, asked.out)
    task, lottery = lottery_of(recipe, asked)
    lottery.grid.check_length(lottery.updates(task))
    make_folder(asked.out)
    with held(asked.out / ".lock"):
        remove_leftovers(asked.out)
        tidy(asked.place)
        claim(recipe, lottery, asked)
        whole = not (asked.out / "runs").exists()
        begun = monotonic()
        with engine_of(asked, task) as engine:
            swept = sweep(lottery, task, asked.place, engine, watch, recipe.arrangement)
        told = planned(lottery, task, asked, swept, monotonic() - begun if whole else None)
        rows = rows_of(lottery, swept, asked.place, lottery.steps_per_epoch(task))
        points = points_of(rows)
        best = winner(swept, points)
        if best is not None:
            copy_saved(folder_of(lottery, best.member, asked.place) / MODEL, asked.out)
        atomic_write(asked.out / "points.json", (to_json(points) + "\n").encode())
        return Found(lottery, task, swept, rows, points, best, told)


def planned(lottery: Lottery, task: Task, asked: Asked, swept: Swept, seconds: float | None) -> dict[str, Any]:
    """The plan that the trial gave, beside what was measured. seconds: of the whole search, None where this start did
    but a part of it; then OUT/plan.json of the start that did the whole stands."""
    path = asked.out / "plan.json"
    costs = Costs(lottery, swept.arrangement, lottery.steps_per_epoch(task), swept.seconds["trial"])
    found = plan_of(costs, asked.place, asked.workers) | {"measured_seconds": seconds}
    if path.exists() and seconds is None:
        stood = read_sealed_json(path)
        check_alike(stood, found | {"measured_seconds": 0.0}, path)
        return stood
    if seconds is not None:
        write_sealed_json(path, found)
    return found


def plan_sweep(recipe: TicketRecipe, asked: Asked) -> dict[str, Any]:
    """What the search would cost, from a trial that leaves nothing behind. Raises as `run_sweep`."""
    task, lottery = lottery_of(recipe, asked)
    lottery.grid.check_length(lottery.updates(task))
    tried = replace(asked, workers=min(asked.workers, num_cores()))
    begun = monotonic()
    with engine_of(tried, task) as engine:
        arranged = choose(lottery, task, asked.place, engine, recipe.arrangement)
    costs = Costs(lottery, arranged, lottery.steps_per_epoch(task), monotonic() - begun)
    return plan_of(costs, asked.place, asked.workers)


def lottery_of(recipe: TicketRecipe, asked: Asked) -> tuple[Task, Lottery]:
    """What the words mean. Raises DataError, ModelError, SettingError."""
    task = load_task(recipe.data, data_dir=asked.data_dir, device=asked.device)
    check_input(recipe.input_shape, task.input_shape, recipe.data)
    settings = train_settings(recipe.training, asked.checkpoint_seconds)
    per_epoch = task.train.num_batches(settings.batch_size, drop_last=True)
    rewinds = tuple(round(epoch * per_epoch) for epoch in recipe.rewinds)
    if len(set(rewinds)) < len(rewinds):
        raise SettingError(
            f"rewinds: {recipe.rewinds} are updates {rewinds} with {per_epoch} an epoch; take points further apart."
        )
    dumped = recipe.model_dump(mode="json", exclude={"name", "kept", "rewinds", "seeds", "controls", "arrangement"})
    named = dumped | {"data": task.fingerprint, "brought": brought_by(as_experiment(recipe))}
    lottery = Lottery(
        model=recipe.model,
        named=named,
        settings=settings,
        grid=Grid(recipe.kept, rewinds, recipe.seeds, recipe.iterative, recipe.controls),
        input_shape=recipe.input_shape,
        score=SCORES[recipe.score],
        scope=SCOPES[recipe.scope],
        finetune_lr=recipe.finetune_lr,
        rewind_optimizer=recipe.rewind_optimizer,
        retirement=Retirement(**recipe.retiring.model_dump()),
        trust=asked.trust,
    )
    return task, lottery


def as_experiment(recipe: TicketRecipe) -> Recipe:
    """The dense networks alone."""
    cell = Cell(label=recipe.model[:80], model=recipe.model, data=recipe.data, dense=recipe.training)
    return Recipe(name=recipe.name, cells=(cell,), seeds=recipe.seeds)


def check_claim(recipe: TicketRecipe, out: Path) -> None:
    """Raises RunConflictError when `out` holds anything but this search."""
    check_out(out, CLAIM)
    path = out / CLAIM
    if path.exists() and read_sealed_json(path).get("recipe") != recipe.model_dump(mode="json"):
        raise RunConflictError(f"{out}: holds a search of other settings; choose another folder with --out.")


def claim(recipe: TicketRecipe, lottery: Lottery, asked: Asked) -> None:
    """Write sweep.json where OUT is free. Raises RunConflictError when its data, files or device were others."""
    path, kind = asked.out / CLAIM, asked.device.partition(":")[0]
    own = {"recipe": recipe.model_dump(mode="json"), "named": dict(lottery.named), "device": kind}
    if not path.exists():
        write_sealed_json(path, own | {"command": asked.command})
        return
    begun = read_sealed_json(path)
    if begun.get("named") != own["named"]:
        raise RunConflictError(
            f"{asked.out}: was begun on other data or weights of the same name; choose another --out."
        )
    if begun.get("device") != kind:
        raise RunConflictError(
            f"{asked.out}: was begun with --device {begun.get('device')}, which rounds otherwise than {kind}; go on "
            "with that, or choose another --out."
        )


@contextmanager
def engine_of(asked: Asked, task: Task) -> Any:
    """Workers that hold the task. On a GPU the work is done in this process."""
    if asked.device != "cpu":
        yield Here(task)
        return
    for split in (task.train, task.val, task.test):
        if isinstance(split, ArraySplit):
            split.ready  # noqa: B018 - made once here, so that workers share it
    with on_ray(asked, task) if asked.engine == "ray" else workers_of(asked.workers, task) as engine:
        yield engine


def on_ray(asked: Asked, task: Task) -> AbstractContextManager[Engine]:
    """Raises MissingExtraError without Ray."""
    from prunelle.engines.ray import workers_of as workers_on_ray

    return workers_on_ray(asked.workers, task, address=asked.address)


class Here:
    """An engine without processes, for a device that one process should have to itself. Final."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def workers(self) -> int:
        return 1

    def run(self, function: Callable, jobs: Any, watch: Watch = lambda: None) -> list:
        found = []
        for job in jobs:
            watch()
            found.append(function(job, self.task))
        return found
