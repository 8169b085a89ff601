"""prunelle ship"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.measure import told
from prunelle.cli.show import command_line, print_json, print_pairs, print_table
from prunelle.errors import SettingError
from prunelle.recipes.check import check_model_word, check_out
from prunelle.recipes.complaint import meant
from prunelle.ship.names import AUTO, FOREIGN, FORMATS, NO_RUNTIME, PRECISIONS, TARGETS

WORDS = tuple(dict.fromkeys(word for words in PRECISIONS.values() for word in words))
CLAIM = "ship.json"
Format = Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}, or {AUTO}: the fastest here.")]
Int8 = Annotated[bool, typer.Option("--int8", help="The same as --precision int8.")]
Precision = Annotated[
    str | None, typer.Option("--precision", help=f"One of {', '.join(WORDS)}; {AUTO} tries all, others are fp32.")
]
Target = Annotated[str, typer.Option("--target", help=f"Of native: {', '.join(TARGETS)}.")]
Data = Annotated[
    str | None,
    typer.Option("--data", help="On whose test split the file is held to the model; else what it was made on."),
]
Batch = Annotated[int, typer.Option("--batch", min=1, max=65_536, help="Images a timed call.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the files; it appears whole, at the end, or not at all.")]
Layers = Annotated[bool, typer.Option("--layers", help="Of native: where the time goes, layer by layer.")]


def ship(
    model: o.Model,
    format: Format,
    out: Out,
    int8: Int8 = False,
    precision: Precision = None,
    target: Target = "native",
    data: Data = None,
    weights: o.Weights = None,
    input: o.Input = None,
    batch: Batch = 1,
    layers: Layers = False,
    data_dir: o.DataDir = None,
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Write the file that runs elsewhere, hold it to the model on the whole test split, and time it here."""
    precision = check_words(format, int8, precision, target, layers)
    check_model_word(model, weights, trust)
    check_out(out, CLAIM)
    if data is not None:
        from prunelle.data.find import check_data

        check_data(data, data_dir)
    num_threads = o.layout(1, threads or 1, 1, "cpu")[0]
    shape = o.shape(input)
    if dry_run:
        plan(model, format, precision, json)
        return

    import torch

    from prunelle.recipes.ship import ship_model
    from prunelle.recipes.shipping import Asked

    torch.set_num_threads(num_threads)
    asked = Asked(model, format, precision, target, data, weights, shape, batch, num_threads, seed, layers)
    found = ship_model(asked, out, data_dir=data_dir, trust=trust, command=command_line())
    if json:
        print_json(found)
    else:
        print_shipped(found)


def check_words(format: str, int8: bool, precision: str | None, target: str, layers: bool) -> str | None:
    """The precision that was asked for, None for the format's own. Raises SettingError."""
    words = (*FORMATS, AUTO)
    if format not in words:
        raise SettingError(f"--format {format!r}: must be one of {', '.join(words)}{meant(format, words)}; correct it.")
    if int8 and precision not in (None, "int8"):
        raise SettingError(f"--int8 and --precision {precision}: exclude each other; pass one of them.")
    precision = "int8" if int8 else precision
    if precision is not None and precision not in WORDS:
        raise SettingError(
            f"--precision {precision!r}: must be one of {', '.join(WORDS)}{meant(precision, WORDS)}; correct it."
        )
    if precision is not None and format != AUTO and precision not in PRECISIONS[format]:
        others = " or ".join(name for name in FORMATS if precision in PRECISIONS[name])
        raise SettingError(
            f"--format {format}: comes in {' or '.join(PRECISIONS[format])}, not in {precision}; "
            f"take --format {others}."
        )
    if target not in TARGETS:
        raise SettingError(
            f"--target {target!r}: must be one of {', '.join(TARGETS)}{meant(target, TARGETS)}; correct it."
        )
    for name, given in (("--target", target != "native"), ("--layers", layers)):
        if given and format != "native":
            raise SettingError(f"{name}: is of --format native, not of {format}; leave it out.")
    if layers and target in FOREIGN:
        raise SettingError(f"--layers: a library for {target} does not run here; leave it out.")
    return precision


def plan(model: str, format: str, precision: str | None, as_json: bool) -> None:
    """What a dry run tells."""
    formats = [name for name in FORMATS if name not in NO_RUNTIME] if format == AUTO else [format]
    names = [f"{name} {word}" for name in formats for word in PRECISIONS[name] if precision in (None, word)]
    if format != AUTO and precision is None:
        names = names[:1]
    what = f"{model}: {', '.join(names)}; each written, held to the model and timed; one shipped"
    print_json({"plan": what, "minutes": 0.5 * len(names), "disk_bytes": None}) if as_json else print(what)


def print_shipped(found: Mapping[str, Any]) -> None:
    """The table of all that was tried, bytes, layers, and what was shipped."""
    heads = ("what", "ms a call", "p95", "times as fast", "bytes", "equal", "largest error", "verdict")
    print_table(found["model"], heads, [line(row) for row in found["table"]])
    if found["layers"]:
        print_layers(found["layers"])
    print_pairs("bytes", [(name.replace("_", " "), told(size)) for name, size in found["sizes_bytes"].items()])
    print(found["summary"])
    for file in found["files"]:
        print(f"{file['path']} ({file['bytes']:,} bytes)")


def line(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table as texts."""
    parity = row.get("parity") or {}
    ratio = row["ratio"]
    verdict = "shipped" if row["winner"] else "ties" if row["tied"] else row["why"] or row["status"]
    return (
        row["name"],
        shown(row["median_ms"], ".4g"),
        shown(row["p95_ms"], ".4g"),
        "" if ratio is None else f"{ratio:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
        shown(row.get("size_bytes"), ","),
        "" if not parity else f"{100 * parity['equal']:.2f} %",
        "" if not parity else f"{parity['error']:.1e}",
        verdict,
    )


def print_layers(layers: list[dict[str, Any]]) -> None:
    """Where the time of a native library goes."""
    print_table(
        "where the time goes",
        ("layer", "kernel", "us", "multiply-adds", "not zero", "measured x", "theoretical x"),
        [
            (
                row["layer"],
                row["kernel"],
                f"{row['us']:.2f}",
                f"{row['dense_macs']:,}",
                f"{row['macs']:,}",
                shown(row["measured"], ".2f"),
                shown(row["theoretical"], ".2f"),
            )
            for row in layers
        ],
    )


def shown(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
