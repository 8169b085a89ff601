"""prunelle run"""

from __future__ import annotations

from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.classwise import carry_out as split
from prunelle.cli.experiment import carry_out
from prunelle.cli.sweep import search
from prunelle.errors import SettingError


def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="quickstart, han2015, gradual, fpgm, channels_latency, a lottery_ or classwise_ one, or a .json file.",
            metavar="RECIPE",
        ),
    ],
    out: o.Out,
    set: o.Set = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    threads: o.Threads = None,
    workers: o.Workers = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Run an experiment by name, such as han2015 or fpgm, or one in a .json file."""
    from prunelle.recipes.classwise import ClasswiseRecipe
    from prunelle.recipes.lottery import TicketRecipe, single
    from prunelle.recipes.names import recipe_of, shifted

    found = shifted(recipe_of(recipe, o.settings(set)), seed)
    if isinstance(found, TicketRecipe | ClasswiseRecipe) and threads not in (None, 1):
        what = "tickets" if isinstance(found, TicketRecipe) else "members"
        raise SettingError(f"--threads {threads}: {what} are trained by processes of one thread; leave it out.")
    if isinstance(found, ClasswiseRecipe):
        split(
            found,
            out,
            workers=workers,
            data_dir=data_dir,
            device=device,
            trust=trust,
            as_json=json,
            dry_run=dry_run,
        )
        return
    if isinstance(found, TicketRecipe):
        search(
            single(found),
            out,
            engine="local",
            workers=workers,
            data_dir=data_dir,
            device=device,
            trust=trust,
            as_json=json,
            dry_run=dry_run,
        )
        return
    carry_out(
        found,
        out,
        data_dir=data_dir,
        device=device,
        threads=threads,
        workers=workers,
        trust=trust,
        as_json=json,
        dry_run=dry_run,
    )
