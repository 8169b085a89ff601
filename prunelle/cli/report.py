"""prunelle report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.show import print_outcome
from prunelle.errors import RunConflictError


def report(
    dir: Annotated[Path, typer.Argument(help="A folder that quickstart, train, prune or run wrote.", metavar="DIR")],
    data_dir: o.DataDir = None,
    trust: o.Trust = False,
    json: o.Json = False,
) -> None:
    """Write report.html, rows.csv and rows.json anew from the runs in DIR."""
    if not (dir / "recipe.json").is_file():
        raise RunConflictError(
            f"{dir}: holds no recipe.json; give a folder that quickstart, train, prune or run wrote."
        )
    from prunelle.recipes.outcome import report as told
    from prunelle.recipes.outcome import write_report
    from prunelle.recipes.reopen import reopen

    recipe, finished, place = reopen(dir, data_dir, trust)
    found = told(recipe, finished, place)
    files = write_report(found, dir)
    print_outcome(found.summary, finished.rows, files, json, {})
