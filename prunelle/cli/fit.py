"""prunelle fit"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.show import print_json, print_pairs, print_table
from prunelle.errors import SettingError
from prunelle.recipes.check import check_model_word, check_out
from prunelle.recipes.complaint import meant
from prunelle.ship.names import FORMATS

if TYPE_CHECKING:
    from prunelle.fit.fitting import News, Watch

CLAIM = "asked.json"
SPLITS = ("val", "test-half")
MaxMs = Annotated[
    str | None,
    typer.Option("--max-ms", help="Milliseconds an image, such as 3, or 0.5x of the dense network in ONNX Runtime."),
]
MaxKb = Annotated[float | None, typer.Option("--max-kb", help="Thousands of bytes of what running needs.")]
MaxDrop = Annotated[float | None, typer.Option("--max-drop", help="Points of top-1 that may be lost.")]
Minutes = Annotated[float, typer.Option("--minutes", help="How long to search.")]
Runtimes = Annotated[
    str | None, typer.Option("--runtimes", help=f"Formats that may be shipped, of {', '.join(FORMATS)}; else all here.")
]
ChooseOn = Annotated[
    str,
    typer.Option(
        "--choose-on",
        help="val; or test-half: the first half of the test split, where the network was trained on val too.",
    ),
]
CandidateFile = Annotated[
    Path | None, typer.Option("--candidate", help="Make only this one: a row of another search's OUT/rows.")
]


def fit(
    model: o.Model,
    data: o.Data,
    out: o.Out,
    max_ms: MaxMs = None,
    max_kb: MaxKb = None,
    max_drop: MaxDrop = None,
    minutes: Minutes = 20.0,
    runtimes: Runtimes = None,
    choose_on: ChooseOn = "val",
    candidate: CandidateFile = None,
    weights: o.Weights = None,
    input: o.Input = None,
    data_dir: o.DataDir = None,
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Find the most accurate file of a trained network within a budget of time, size and accuracy, and ship it."""
    formats = formats_of(runtimes)
    if choose_on not in SPLITS:
        raise SettingError(f"--choose-on {choose_on!r}: must be {' or '.join(SPLITS)}{meant(choose_on, SPLITS)}.")
    if not 0 < minutes < 1e6:
        raise SettingError(f"--minutes {minutes}: must be above 0; give the time that the search may take.")
    if max_ms is None and max_kb is None and max_drop is None and candidate is None:
        raise SettingError("fit: no limit was given; pass --max-ms, --max-kb or --max-drop.")
    limit = time_limit(max_ms)
    check_model_word(model, weights, trust)
    check_out(out, CLAIM)
    from prunelle.data.find import check_data

    check_data(data, data_dir)
    num_threads = None if threads is None else o.layout(1, threads, 1, "cpu")[0]
    shape = o.shape(input)

    from prunelle.fit.budget import budget_for
    from prunelle.fit.candidates import read_candidate

    one = None if candidate is None else read_candidate(candidate)
    budget = budget_for(one is not None, max_kb=max_kb, max_drop=max_drop, **limit)

    from prunelle.recipes.fit import Asked, fit_model, plan

    asked = Asked(model, data, budget, out, minutes, weights, shape, formats, choose_on != "val", one, data_dir,
                  num_threads, seed, trust)  # fmt: skip
    if dry_run:
        tell_plan(plan(asked), json)
        return
    with news() as watch:
        found = fit_model(asked, watch)
    print_json(found) if json else print_found(found, out)
    if not found["met"]:
        raise typer.Exit(1)


def formats_of(runtimes: str | None) -> tuple[str, ...] | None:
    """'native,onnx' -> ('native', 'onnx'). Raises SettingError."""
    if runtimes is None:
        return None
    words = tuple(dict.fromkeys(word.strip() for word in runtimes.split(",") if word.strip()))
    for word in words:
        if word not in FORMATS:
            raise SettingError(
                f"--runtimes {word!r}: must be some of {', '.join(FORMATS)}{meant(word, FORMATS)}, with commas between."
            )
    if not words:
        raise SettingError(f"--runtimes {runtimes!r}: names none; the words are {', '.join(FORMATS)}.")
    return words


def time_limit(text: str | None) -> dict[str, float]:
    """'3' or '3ms' -> {'max_ms': 3.0}, '0.5x' -> {'max_ratio': 0.5}. Raises SettingError."""
    if text is None:
        return {}
    found = re.fullmatch(r"(\d*\.?\d+)(x|ms)?", text.replace(" ", "").lower())
    if found is None or not float(found[1]) > 0:
        raise SettingError(
            f"--max-ms is {text!r}, must be milliseconds such as 3, or a share of the dense time such as 0.5x."
        )
    return {"max_ratio" if found[2] == "x" else "max_ms": float(found[1])}


@contextmanager
def news() -> Iterator[Watch]:
    """A line on stderr: what is being tried, the best so far, the time left; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("opening", total=None)
        yield lambda one: bar.update(line, description=sentence(one))


def sentence(one: News) -> str:
    """What a search is doing, in a line."""
    best = "nothing yet"
    if one.best is not None:
        entry = one.best
        best = f"{100 * entry.val_top1:.2f} %, {entry.median_ms:.4g} ms, {entry.size_bytes / 1e3:.1f} KB ({entry.name})"
    return f"{one.doing}\nbest so far: {best}\n{one.left / 60:.1f} minutes left"


def tell_plan(found: Mapping[str, Any], as_json: bool) -> None:
    """What a dry run found."""
    if as_json:
        print_json(found)
        return
    print_table(
        "would be tried", ("what", "minutes, about"), [(r["what"], f"{r['minutes']:.1f}") for r in found["candidates"]]
    )
    print_pairs(
        "then trainings",
        [
            ("an epoch", f"about {found['epoch_minutes']:.2f} minutes in {found['precision']}"),
            ("that fit", f"at most about {found['epochs_that_fit']:,} epochs, shared by successive halving"),
            ("minutes in all", f"{found['minutes']:g}"),
            ("disk", f"at most about {found['disk_bytes'] / 1e6:.1f} MB"),
        ],
    )


def print_found(found: Mapping[str, Any], out: Path) -> None:
    """Budget beside what was reached, and where the file lies."""
    chosen, test = found["chosen"], found["test"]
    print_table(
        f"{found['model']}: {chosen['name']}",
        ("limit", "asked", "reached", "verdict"),
        [limit_line(name, found) for name in ("ms", "kb", "drop") if asked_of(name, found) is not None],
    )
    met = "all limits are kept" if found["met"] else "cannot be met"
    print(
        f"{met}: {100 * test['top1']:.2f} % on {test['num_test']:,} test images (dense "
        f"{100 * test['top1_dense']:.2f} %), {chosen['median_ms']:.4g} ms, {chosen['size_bytes'] / 1e3:.1f} KB; "
        f"{found['num_tried']} files were made."
    )
    if not found["met"]:
        for limit, one in found["nearest"].items():
            print(
                f"nearest miss on {limit}: {one['name']} ({one['median_ms']:.4g} ms, {one['size_bytes'] / 1e3:.1f} KB, "
                f"{one['drop']:+.2f} points lost on the validation split)"
            )
        for limit in found["missed"].keys() - found["nearest"].keys():
            print(f"nearest miss on {limit}: this file, which keeps the limit on the split chosen on")
    print(f"the file: {found['folder']}\nreport: {out / 'report.html'}")


def asked_of(name: str, found: Mapping[str, Any]) -> str | None:
    """A limit in words, None where there is none."""
    budget = found["budget"]
    if name == "ms" and budget["max_ratio"] is not None:
        return f"{budget['max_ratio']:g}x of {found['reference']['runtime']}, {found['reference']['ms']:.4g} ms"
    value = budget[f"max_{name}"]
    return (
        None if value is None else f"{value:g} {'points' if name == 'drop' else name.upper() if name == 'kb' else name}"
    )


def limit_line(name: str, found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    chosen, test = found["chosen"], found["test"]
    reached = {
        "ms": f"{chosen['median_ms']:.4g} ms, {chosen['share']:.3f}x "
        f"({chosen['share_low']:.3f} to {chosen['share_high']:.3f})",
        "kb": f"{chosen['size_bytes'] / 1e3:.1f} KB",
        "drop": f"{test['drop']:+.2f} points on test, {chosen['drop']:+.2f} on the split chosen on",
    }
    return name, asked_of(name, found) or "", reached[name], "missed" if name in found["missed"] else "kept"
