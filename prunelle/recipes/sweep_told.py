"""What a search has found, in words, tables and files."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from prunelle.recipes.experiment import shipped_files
from prunelle.recipes.sweeping import Asked, Found
from prunelle.report.rows import write_csv, write_json
from prunelle.tickets.results import retired

HEADERS = ("variant", "kept", "rewind (epochs)", "seeds", "test top-1, median", "range", "against dense, 95 %")


def write_files(found: Found, asked: Asked) -> list[dict[str, Any]]:
    """rows.csv and rows.json in OUT. Returns files worth looking at as {path, bytes, what}. Raises DiskError."""
    write_csv(found.rows, asked.out / "rows.csv")
    write_json(found.rows, asked.out / "rows.json")
    return [told(asked.out / "rows.csv", "a line a training"), *map(dict, shipped_files(asked.out))]


def told(path: Path, what: str) -> dict[str, Any]:
    return {"path": str(path), "bytes": path.stat().st_size, "what": what}


def summary(found: Found) -> list[str]:
    """What a reader wants to know first, a sentence each."""
    said = [winner_sentence(found)]
    saved = retired(found.swept)
    if saved["members"]:
        cost = saved["accuracy_cost"]
        audit = (
            ""
            if cost is None
            else f"; {saved['audited']} that went on all the same changed by {100 * cost:+.2f} points"
        )
        said.append(
            f"{saved['members']} trainings ended early, which saved {saved['updates_saved']:,} of "
            f"{saved['updates_saved'] + saved['updates']:,} updates, {60 * saved['hours_saved']:.1f} minutes{audit}."
        )
    if found.swept.skipped:
        said.append(f"{len(found.swept.skipped)} trainings were not begun: the ticket before them had no hope.")
    measured = found.plan.get("measured_seconds")
    if measured is not None:
        said.append(
            f"{found.plan['num_trainings']} trainings took {measured / 60:.1f} minutes; "
            f"{found.plan['seconds'] / 60:.1f} were predicted after the trial."
        )
    return said


def winner_sentence(found: Found) -> str:
    """Which ticket won, how small it is, and how it stands against the dense networks."""
    if found.best is None:
        return "no ticket stands: every training diverged or was skipped."
    member = found.best.member
    own = found.swept.cards[member]["found"]
    dense = [card["found"]["test_top1"] for m, card in found.swept.cards.items() if m.variant == "dense"]
    verdict = "matches" if found.best.matches else "is the best, but does not match"
    return (
        f"the {member.variant} with {100 * member.kept:.1f} % of the weights, rewound to update {member.rewind} "
        f"(seed {member.seed}), {verdict} the dense networks on val: {100 * own['test_top1']:.2f} % on test, "
        f"dense {100 * median(dense):.2f} %."
    )


def table(found: Found) -> list[tuple[str, ...]]:
    """A line a point, under HEADERS."""
    per_epoch = found.lottery.steps_per_epoch(found.task)
    lines: list[tuple[str, ...]] = []
    for point in found.points:
        low, high = point["test_top1_low"], point["test_top1_high"]
        spread = (
            "" if point["num_seeds"] == 1 else f" ({100 * point['gain_low']:+.2f} to {100 * point['gain_high']:+.2f})"
        )
        lines.append(
            (
                point["variant"],
                f"{100 * point['kept']:.1f} %",
                f"{point['rewind'] / per_epoch:g}",
                str(point["num_seeds"]),
                f"{100 * point['test_top1']:.2f} %",
                f"{100 * low:.2f} to {100 * high:.2f}",
                f"{100 * point['gain']:+.2f}{spread}",
            )
        )
    return lines
