"""Running a recipe: training jobs on all cores, then measuring one by one on a quiet machine, then telling it.

OUT/recipe.json      what is run, sealed; another recipe in the same folder is refused
OUT/runs/ID/         one folder a run
OUT/model.*          the chosen network, so that OUT itself loads as a MODEL
OUT/cards.json       a list of Cards; rows.csv, rows.json, report.html beside it
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from prunelle.engines.local import run_jobs
from prunelle.errors import DivergedError, RunConflictError
from prunelle.files import (
    atomic_write,
    make_folder,
    read_sealed_json,
    remove_leftovers,
    to_json,
    write_sealed_json,
)
from prunelle.models.save import MANIFEST, WEIGHTS, copy_saved
from prunelle.recipes.cards import measure_run, row
from prunelle.recipes.check import check_claim
from prunelle.recipes.execute import MODEL, execute, is_trained, open_run, tasks_of
from prunelle.recipes.plan import Place, PlannedRun, brought_by, plan
from prunelle.recipes.settings import Recipe
from prunelle.runs import held
from prunelle.train.ddp import join

Watch = Callable[[str, float], None]
"""(what is going on, share done in [0, 1]), called again and again while an experiment runs."""


@dataclass(frozen=True)
class Finished:
    """runs: all, in order, measured. rows: one flat dict a run. cards: as JSON. chosen: whose network stands in OUT."""

    runs: list[PlannedRun]
    rows: list[dict]
    cards: list[dict]
    chosen: PlannedRun


def run_experiment(recipe: Recipe, place: Place, watch: Watch = lambda what, share: None) -> Finished | None:
    """Do what the recipe says, or what of it is not done yet. None on every rank of torchrun but the first.

    Raises RunConflictError when OUT holds something else, BusyError when another process works in it, and whatever
    the runs raise.
    """
    check_claim(recipe, place.out)
    planned, fingerprints = prepare(recipe, place)
    ranks = join(torch.device(place.device))
    make_folder(place.out)
    with held(place.out / ".lock") if ranks.rank == 0 else nullcontext():
        if ranks.rank == 0:
            remove_leftovers(place.out)
            claim(recipe, fingerprints, place)
        ranks.barrier()
        return carry_out(planned, place, watch)


def carry_out(planned: list[PlannedRun], place: Place, watch: Watch) -> Finished | None:
    """Make, measure and gather the runs that are not done yet."""
    torch.set_num_threads(place.threads)
    for variant, what in (("dense", "training"), ("pruned", "pruning")):
        train_all([p for p in planned if p.variant == variant], place, what, watch)
    if join(torch.device(place.device)).rank > 0:
        return None
    for number, one in enumerate(planned):
        watch(f"measuring {number + 1} of {len(planned)}", number / len(planned))
        measure_run(one, place)
    rows = [row(one, place) for one in planned]
    chosen = choose(planned, rows)
    copy_saved(open_run(chosen, place).folder / MODEL, place.out)
    named = ("id", "run", "variant", "seed")
    cards = [open_run(one, place).card() | {key: r[key] for key in named} for one, r in zip(planned, rows, strict=True)]
    atomic_write(place.out / "cards.json", (to_json(cards) + "\n").encode())
    watch("done", 1.0)
    return Finished(planned, rows, cards, chosen)


def prepare(recipe: Recipe, place: Place) -> tuple[list[PlannedRun], dict[str, str]]:
    """(all runs, fingerprint of each data set); nothing is written. Raises DataError, WeightsError, SettingError."""
    fingerprints = {data: task.fingerprint for data, task in tasks_of(recipe, place).items()}
    return plan(recipe, fingerprints), fingerprints


def claim(recipe: Recipe, fingerprints: dict[str, str], place: Place) -> None:
    """Write recipe.json where OUT is free. Raises RunConflictError when it holds another recipe or other data."""
    out, path = place.out, place.out / "recipe.json"
    check_claim(recipe, out)
    if not path.exists():
        begun = {"recipe": recipe.model_dump(mode="json"), "data": fingerprints, "brought": brought_by(recipe)}
        write_sealed_json(path, begun | {"command": place.command})
        return
    begun = read_sealed_json(path)
    if (begun.get("data"), begun.get("brought")) != (fingerprints, brought_by(recipe)):
        raise RunConflictError(f"{out}: was begun on other data or weights of the same name; choose another --out.")


def train_all(planned: list[PlannedRun], place: Place, what: str, watch: Watch) -> None:
    """Make the runs that are missing, in one process or in several. The ranks of torchrun share each run instead."""
    runs = [open_run(one, place) for one in planned]
    jobs = [{"planned": p, "place": place} for p, run in zip(planned, runs, strict=True) if not is_trained(run)]

    def look() -> None:
        done = sum(is_trained(run) or part_done(run.folder) for run in runs)
        watch(f"{what}: {sum(map(is_trained, runs))} of {len(runs)} runs", done / len(runs))

    alone = join(torch.device(place.device)).world == 1
    if alone and place.workers > 1 and len(jobs) > 1:
        run_jobs(execute, jobs, place.workers, look)
        return
    for job in jobs:
        look()
        execute(job)


def part_done(folder: Path) -> float:
    """How far a run's present stage is, as it last told."""
    try:
        return min(0.99, float((folder / "progress").read_text()))
    except (OSError, ValueError):
        return 0.0


def choose(planned: list[PlannedRun], rows: list[dict]) -> PlannedRun:
    """The network to ship: of those pruned (else of all) the best on val, of equals the one with fewest weights."""
    last = "pruned" if any(one.variant == "pruned" for one in planned) else "dense"
    pairs = [(one, r) for one, r in zip(planned, rows, strict=True) if one.variant == last]
    return max(pairs, key=lambda pair: (not pair[1]["diverged"], pair[1]["val_top1"], -pair[1]["nnz"]))[0]


def check_converged(finished: Finished) -> None:
    """Raises DivergedError, naming the runs, when any diverged."""
    broken = [r["id"] for r in finished.rows if r["diverged"]]
    if broken:
        raise DivergedError(
            f"{len(broken)} of {len(finished.rows)} runs diverged ({', '.join(broken)}); their last good weights are "
            "kept and marked; try a smaller learning rate in another --out."
        )


def shipped_files(out: Path) -> list[dict]:
    """The saved network in OUT, for the table at the end; none while runs are missing."""
    return [
        {"path": str(out / name), "bytes": (out / name).stat().st_size, "what": what}
        for name, what in ((WEIGHTS, "weights"), (MANIFEST, "how to rebuild it"))
        if (out / name).is_file()
    ]
