"""prunelle inspect"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.channels import MOST_NAMES, more, print_frozen
from prunelle.cli.show import print_json, print_table
from prunelle.errors import RunConflictError
from prunelle.recipes.check import check_model_word

Html = Annotated[Path | None, typer.Option("--html", help="Also write a picture of it, one offline HTML file.")]


def inspect(
    model: o.Model,
    html: Html = None,
    weights: o.Weights = None,
    input: o.Input = None,
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
) -> None:
    """Show what of a network can shrink: the sets of tied channels, what hangs on them, and what stays, and why."""
    check_model_word(model, weights, trust)
    if html is not None and html.is_dir():
        raise RunConflictError(f"--html {html}: is a folder; name a file.")
    shape = o.shape(input)
    num_threads = o.layout(1, threads, 1, "cpu")[0]

    import torch

    from prunelle.recipes.structure import structure
    from prunelle.report.structure import summary, write_structure

    torch.set_num_threads(num_threads)
    found = structure(model, weights=weights, input_shape=shape, trust=trust, seed=seed)
    if html is not None:
        write_structure(found, html)
    if json:
        print_json(found)
        return
    rows = [set_line(one, found) for one in found["sets"]]
    print_table(model, ("set", "channels", "can go", "parameters", "multiply-adds", "layers"), rows)
    print_frozen(found["frozen"])
    print(summary(found))
    if html is not None:
        print(f"picture: {html} ({html.stat().st_size:,} bytes)")


def set_line(one: dict[str, Any], found: dict[str, Any]) -> tuple[str, ...]:
    """A set as a line of the table; shares are of the whole network."""
    return (
        one["name"],
        f"{one['channels']:,}",
        f"{one['can_go'] / one['channels']:.0%}",
        f"{one['params']:,} ({one['params'] / max(found['params'], 1):.1%})",
        f"{one['macs']:,} ({one['macs'] / max(found['macs'], 1):.1%})",
        ", ".join(one["layers"][:MOST_NAMES]) + more(len(one["layers"]) - MOST_NAMES),
    )
