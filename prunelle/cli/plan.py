"""prunelle plan"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.search_words import check_search
from prunelle.cli.show import command_line, print_json, print_pairs, print_table, progress

SHOWN = (1, 2, 4, 8, 20, 100, 1000)
Planned = Annotated[int, typer.Option("--workers", min=1, max=1_000_000, help="Processes of one thread, anywhere.")]


def plan(
    recipe: Annotated[
        str,
        typer.Argument(help="lottery_lenet, lottery_resnet20, lottery_mobilenetv2 or a .json file.", metavar="RECIPE"),
    ],
    workers: Planned,
    set: o.Set = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    trust: o.Trust = False,
    json: o.Json = False,
) -> None:
    """Tell what a search for tickets will cost with so many workers, from a trial of a few steps here."""
    from prunelle.recipes.names import tickets_of

    found = tickets_of(recipe, o.settings(set), 0)
    check_search(found, data_dir, trust, "local", device)
    import tempfile
    from pathlib import Path

    from prunelle.recipes.sweeping import Asked, plan_sweep
    from prunelle.train.ddp import check_device

    check_device(device)
    with progress() as watch:
        watch("trial", 0.0)
        trial = Path(tempfile.gettempdir())
        planned = plan_sweep(
            found, Asked(trial, workers, "local", None, data_dir, device, trust, command=command_line())
        )
    tell_plan(planned, json)


def tell_plan(planned: dict[str, Any], as_json: bool) -> None:
    """Print what a search will cost."""
    if as_json:
        print_json(planned)
        return
    way = planned["arrangement"]
    sparse = f"; sparse below {100 * way['sparse_below']:.0f} % kept" if way["sparse_below"] else ""
    print_pairs(
        "plan",
        [
            ("trainings", f"{planned['num_trainings']:,}, {planned['num_updates']:,} updates"),
            ("one after the other", minutes(planned["work_seconds"])),
            ("how", f"{way['whole']}{sparse} (fastest in a trial)"),
            (f"with {planned['workers']} workers", minutes(planned["seconds"])),
            ("speed-up, efficiency", f"{planned['speedup']:.2f}, {planned['efficiency']:.2f}"),
            ("never shorter than", minutes(planned["serial_seconds"])),
        ],
    )
    serial = [(row["what"], minutes(row["seconds"])) for row in shortest(planned)]
    print_table("what no worker shortens", ("what", "takes"), serial)
    rows = [row for row in planned["curve"] if row["workers"] in SHOWN]
    print_table(
        "predicted",
        ("workers", "takes", "S(n)", "E(n)"),
        [(str(r["workers"]), minutes(r["seconds"]), f"{r['speedup']:.2f}", f"{r['efficiency']:.2f}") for r in rows],
    )


def shortest(planned: dict[str, Any]) -> list[dict[str, Any]]:
    """The serial parts; of many rounds their sum."""
    rounds = [row for row in planned["limits"] if row["what"].startswith("round")]
    others = [row for row in planned["limits"] if row not in rounds]
    if not rounds:
        return others
    together = sum(row["seconds"] for row in rounds)
    return [
        *others,
        {"what": f"{len(rounds)} rounds of masks, each after the other", "seconds": together},
    ]


def minutes(seconds: float) -> str:
    """A time as people say it.

    >>> minutes(90), minutes(7200 * 24), minutes(12.34)
    ('1.5 minutes', '48.0 hours', '12.3 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
