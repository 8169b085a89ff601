"""prunelle sweep, and the search of one ticket that prunelle run makes of the same recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.plan import tell_plan
from prunelle.cli.search_words import check_search, workers_for
from prunelle.cli.show import command_line, print_json, print_table, progress
from prunelle.recipes.check import check_out
from prunelle.recipes.lottery import TicketRecipe

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
