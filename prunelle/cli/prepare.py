"""prunelle prepare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.show import print_json, print_pairs, progress
from prunelle.engines.local import num_cores

Source = Annotated[Path, typer.Argument(help="Images, a folder a class; or train/ and val/ of those.", metavar="SRC")]
Out = Annotated[Path, typer.Argument(help="Folder for the shards; --data takes it.", metavar="DST")]
Size = Annotated[int, typer.Option("--size", help="Pixels a side.")]
Engine = Annotated[str, typer.Option("--engine", help="local, ray or spark; the shards are the same.")]
Address = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster or a Spark master; else processes of this machine.")
]
Skip = Annotated[bool, typer.Option("--skip-damaged", help="Leave out, and list, images that cannot be decoded.")]


def prepare(
    src: Source,
    dst: Out,
    size: Size,
    engine: Engine = "local",
    address: Address = None,
    workers: o.Workers = None,
    skip_damaged: Skip = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Resize a folder of images once, into checksummed shards that train faster; started again, it goes on."""
    from prunelle.recipes.prepare import estimate
    from prunelle.recipes.prepare import prepare as make
    from prunelle.recipes.preparing import Asked, check

    asked = Asked(src, dst, size, workers or num_cores(), engine, address, skip_damaged)
    check(asked)
    with progress() as watch:
        found = estimate(asked, watch) if dry_run else make(asked, watch)
    if json:
        print_json(found)
    else:
        print_pairs(f"{'would prepare' if dry_run else 'prepared'} {src} -> {dst}", lines(found, dry_run))


def lines(found: dict[str, Any], dry_run: bool) -> list[tuple[str, str]]:
    """What came of it, or would, in words."""
    images = f"{found['images']:,} of {found['size']} x {found['size']} pixels in {found['classes']:,} classes"
    told = [("images", images), ("on disk", f"{found['bytes']:,} bytes")]
    if dry_run:
        minutes = f"about {found['seconds'] / 60:.1f} minutes ({found['engine']})"
        return [*told, ("shards", f"{found['shards']:,}"), ("time", minutes)]
    if found["skipped"]:
        told.append(("left out", f"{found['skipped']:,} that could not be decoded; shards.json names them"))
    made = f"{found['shards']:,}, {found['made']:,} of them made now"
    return [*told, ("shards", made), ("time", f"{found['seconds']:.1f} s")]
