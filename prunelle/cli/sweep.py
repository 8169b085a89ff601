"""prunelle sweep, and the search of one ticket that prunelle run makes of the same recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.plan import tell_plan
from prunelle.cli.show import command_line, print_json, print_table, progress
from prunelle.engines.local import check_workers, num_cores
from prunelle.errors import SettingError
from prunelle.recipes.check import check_device_word, check_model_word, check_out, shape_of
from prunelle.recipes.complaint import meant
from prunelle.recipes.lottery import TicketRecipe

ENGINES = ("local", "ray")
LINES_SHOWN = 40
RecipeName = Annotated[
    str,
    typer.Argument(help="lottery_lenet, lottery_resnet20, lottery_mobilenetv2 or a .json file.", metavar="RECIPE"),
]
EngineWord = Annotated[str, typer.Option("--engine", help="local, or ray: RAY_ADDRESS, else started here.")]


def sweep(
    recipe: RecipeName,
    out: o.Out,
    set: o.Set = None,
    engine: EngineWord = "local",
    workers: o.Workers = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Search a recipe's grid for lottery tickets: masks x rewinding points x seeds. Started again, it goes on."""
    from prunelle.recipes.names import tickets_of

    found = tickets_of(recipe, o.settings(set), seed)
    search(
        found,
        out,
        engine=engine,
        workers=workers,
        data_dir=data_dir,
        device=device,
        trust=trust,
        as_json=json,
        dry_run=dry_run,
    )


def search(
    recipe: TicketRecipe,
    out: Path,
    *,
    engine: str,
    workers: int | None,
    data_dir: str | None,
    device: str,
    trust: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Carry a search out and tell it. All that can be refused is refused before data is read."""
    check_search(recipe, data_dir, trust, engine, device)
    check_out(out, "sweep.json")
    num_workers = workers_for(workers, device, engine)

    # torch takes seconds to import; typos are answered before.
    from prunelle.recipes.sweep_told import HEADERS, summary, table, write_files
    from prunelle.recipes.sweeping import Asked, plan_sweep, run_sweep
    from prunelle.train.ddp import check_device

    check_device(device)
    asked = Asked(out, num_workers, engine, None, data_dir, device, trust, command=command_line())
    with progress() as watch:
        if dry_run:
            watch("trial", 0.0)
            planned = plan_sweep(recipe, asked)
        else:
            found = run_sweep(recipe, asked, watch)
    if dry_run:
        tell_plan(planned, as_json)
        return
    files = write_files(recipe, found, asked)
    if as_json:
        print_json({"summary": summary(found), "points": found.points, "plan": found.plan, "files": files})
        return
    lines = table(found)
    print_table(recipe.name, HEADERS, lines[-LINES_SHOWN:])
    if len(lines) > LINES_SHOWN:
        print(f"{len(lines) - LINES_SHOWN} lines more in {out / 'points.json'}")
    for sentence in summary(found):
        print(sentence)
    for file in files:
        print(f"{file['what']}: {file['path']} ({file['bytes']:,} bytes)")


def check_search(recipe: TicketRecipe, data_dir: str | None, trust: bool, engine: str, device: str) -> None:
    """Every word of a search. No torch. Raises SettingError, ModelError, DataError, UntrustedCodeError."""
    from prunelle.data.find import check_data

    if engine not in ENGINES:
        raise SettingError(
            f"--engine {engine!r}: must be {' or '.join(ENGINES)}{meant(engine, ENGINES)}; pass one of them."
        )
    check_device_word(device)
    if engine == "ray" and device != "cpu":
        raise SettingError(f"--engine ray: on {device} one process of this machine does the work; leave it out.")
    check_model_word(recipe.model, None, trust)
    check_data(recipe.data, data_dir)
    shape_of(recipe.data, recipe.input_shape)


def workers_for(workers: int | None, device: str, engine: str) -> int:
    """As many as told, else a process a core; one on a GPU. Raises SettingError for more than `engine` can have."""
    if device != "cpu":
        if workers not in (None, 1):
            raise SettingError(
                f"--workers {workers}: on {device} one process trains many members at once; leave it out."
            )
        return 1
    if workers is None:
        return num_cores()
    if engine == "local":
        check_workers(workers)
    return workers
