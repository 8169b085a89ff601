"""prunelle bench"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.show import command_line, print_json, print_table
from prunelle.errors import SettingError
from prunelle.recipes.artefacts import word_of
from prunelle.recipes.check import check_folder
from prunelle.ship.names import FITTED, RUNTIMES

MOST = 32
Artefacts = Annotated[
    list[str],
    typer.Argument(
        help=f"MODELs, shipped folders or their files, each with an optional @runtime ({', '.join(RUNTIMES)}).",
        metavar="A B ...",
    ),
]
Batch = Annotated[int, typer.Option("--batch", min=1, max=65_536, help="Images a call.")]
Data = Annotated[
    str | None, typer.Option("--data", help="Whose validation images are fed; else what the first was made on.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for bench.json and bench.html, the picture.")]
Trust = Annotated[bool, typer.Option("--trust", help="Allow what is code: a user's file, a native library, a .pt2.")]


def bench(
    artefacts: Artefacts,
    batch: Batch = 1,
    data: Data = None,
    input: o.Input = None,
    out: Out = None,
    data_dir: o.DataDir = None,
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Time models and shipped files in turns in one run; ratios are to the first."""
    if len(artefacts) > MOST:
        raise SettingError(f"bench: {len(artefacts)} are named, at most {MOST} are timed in one run; leave some out.")
    words = [word_of(name, trust) for name in artefacts]
    if out is not None:
        check_folder(out)
    if data is not None:
        from prunelle.data.find import check_data

        check_data(data, data_dir)
    shape = o.shape(input)
    num_threads = o.layout(1, threads or 1, 1, "cpu")[0]
    if dry_run:
        what = f"{', '.join(artefacts)}: 5 s or 1,000 calls each, in turns"
        print_json({"plan": what, "minutes": len(words) / 6, "disk_bytes": 0}) if json else print(what)
        return

    import torch

    from prunelle.recipes.bench import bench as measured
    from prunelle.recipes.bench import write_bench

    torch.set_num_threads(num_threads)
    found = measured(
        words,
        batch=batch,
        threads=num_threads,
        data=data,
        data_dir=data_dir,
        input_shape=shape,
        seed=seed,
        trust=trust,
    )
    print_json(found) if json else print_bench(found)
    files = write_bench(found, out, command_line()) if out is not None else []
    for file in files if not json else ():
        print(f"{file} ({file.stat().st_size:,} bytes)")


def print_bench(found: Mapping[str, Any]) -> None:
    """The table, and the headline."""
    from prunelle.recipes.bench import sentence

    heads = ("what", "runtime", "ms a call", "p95", "p99", "times as fast", "bytes")
    shown = "x".join(map(str, found["input_shape"]))
    print_table(
        f"{found['batch']} of {shown} a call, {found['threads']} threads, {found['images']}",
        heads,
        map(line, found["artefacts"]),
    )
    print(sentence(found))


def line(row: dict) -> tuple[str, ...]:
    """A row of the table as texts."""
    return (
        row["name"],
        row["runtime"]
        if row["precision"] == "fp32" or row["runtime"] in FITTED
        else f"{row['runtime']} {row['precision']}",
        *(f"{row[key]:.4g}" for key in ("median_ms", "p95_ms", "p99_ms")),
        f"{row['ratio']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})",
        "" if row["size_bytes"] is None else f"{row['size_bytes']:,}",
    )
