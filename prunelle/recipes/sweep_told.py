"""What a search has found, in words, tables and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelle.measure.environment import environment
from prunelle.recipes.experiment import shipped_files
from prunelle.recipes.lottery import TicketRecipe
from prunelle.recipes.sweeping import Asked, Found
from prunelle.report.rows import write_csv, write_json
from prunelle.report.tickets import TicketReport, write_tickets_page
from prunelle.report.tickets_verdict import below_on_test
from prunelle.tickets.results import MATCHES, retired

COLUMNS = (
    *("run", "variant", "kept", "rewind", "rewind_epoch", "seed", "status"),
    *("val_top1", "val_loss", "test_top1", "dense_val_top1", "dense_test_top1", "barrier"),
    *("nnz", "prunable", "updates", "seconds", "how"),
)
"""Of rows.csv and rows.json."""
NAMES = {
    "random": "random mask",
    "shuffled": "shuffled mask",
    "reinit": "fresh weights",
    "lr": "lr rewound",
    "finetune": "fine-tuned",
}
"""Variants whose words are short for something else."""
NOTES = (
    "Test accuracy was read once a training; the winner was chosen on the validation split.",
    "Fresh weights (reinit) are trained for all epochs; what is rewound, from its point to the end.",
)
DOUBT = {
    "no": "",
    "perhaps": ", which does not confirm the match",
    "surely": ", which contradicts the match",
}
HEADERS = ("variant", "kept", "rewind (epochs)", "seeds", "test top-1, median", "range", "against dense, 95 %")


def write_files(recipe: TicketRecipe, found: Found, asked: Asked) -> list[dict[str, Any]]:
    """rows.csv, rows.json and report.html in OUT. Returns files worth looking at as {path, bytes, what}.

    Raises DiskError.
    """
    write_csv(found.rows, asked.out / "rows.csv", COLUMNS)
    write_json(found.rows, asked.out / "rows.json", COLUMNS)
    files = [told(asked.out / "rows.csv", "a line a training"), *map(dict, shipped_files(asked.out))]
    page = write_tickets_page(page_of(recipe, found, asked, files), asked.out / "report.html")
    return [told(page, "report"), *files]


def page_of(recipe: TicketRecipe, found: Found, asked: Asked, files: list[dict[str, Any]]) -> TicketReport:
    """What the page shows."""
    winner = None
    if found.best is not None:
        own = found.swept.cards[found.best.member]["found"]
        winner = {key: own[key] for key in ("seed", "kept", "rewind", "variant", "test_top1")}
        winner |= {"matches": found.best.matches, "path": str(asked.out)}
    return TicketReport(
        title=recipe.name,
        command=asked.command,
        summary=searched(recipe),
        points=found.points,
        rows=found.rows,
        dense=next(point for point in found.points if point["variant"] == "dense"),
        winner=winner,
        retired=retired(found.swept),
        plan=found.plan,
        arrangement=found.swept.arrangement.to_json(),
        notes=NOTES,
        files=files,
        environment=environment(),
        within=MATCHES,
    )


def searched(recipe: TicketRecipe) -> list[str]:
    """What was searched, in sentences."""
    chosen = "each from the ticket before it" if recipe.iterative else "all from the dense network"
    return [
        f"{recipe.model} on {recipe.data}: {len(recipe.kept)} masks, {chosen}, x {len(recipe.rewinds)} rewinding "
        f"points x {len(recipe.seeds)} seeds; {recipe.training.epochs} epochs a dense training."
    ]


def told(path: Path, what: str) -> dict[str, Any]:
    return {"path": str(path), "bytes": path.stat().st_size, "what": what}


def summary(found: Found) -> list[str]:
    """What a reader wants to know first, a sentence each."""
    said = [winner_sentence(found)]
    saved = retired(found.swept)
    if saved["members"]:
        cost = saved["accuracy_cost"]
        audit = (
            "" if cost is None else f"; {saved['audited']} that went on all the same changed by {signed(cost)} points"
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


WENT_ON = {"ticket": "rewound to", "lr": "its learning rate rewound to", "finetune": "fine-tuned from"}


def winner_sentence(found: Found) -> str:
    """Which ticket won, how small it is, and how it stands against the dense networks: over seeds as they are, for the
    best of a few is no match for the median of others."""
    if found.best is None:
        return "no ticket stands: every training diverged or was skipped."
    member = found.best.member
    own = found.swept.cards[member]["found"]
    dense, point = point_of(found, "dense", 0, 1.0), point_of(found, member.variant, member.rewind, member.kept)
    several = point["num_seeds"] > 1
    median_of = f" in the median of {point['num_seeds']} seeds" if several else ""
    saved = f"; saved is that of seed {member.seed}, {100 * own['test_top1']:.2f} %" if several else ""
    verdict = "matches" if found.best.matches else "is the best, but does not match"
    doubt = DOUBT[below_on_test(point, MATCHES)] if found.best.matches else ""
    return (
        f"the ticket with {100 * member.kept:.1f} % of the weights, {WENT_ON[member.variant]} update {member.rewind}, "
        f"{verdict} the dense networks on val: {100 * point['test_top1']:.2f} % on test{median_of}, "
        f"dense {100 * dense['test_top1']:.2f} %{doubt}{saved}."
    )


def point_of(found: Found, variant: str, rewind: int, kept: float) -> dict[str, Any]:
    place = (variant, rewind, kept)
    return next(one for one in found.points if (one["variant"], one["rewind"], one["kept"]) == place)


def table(found: Found) -> list[tuple[str, ...]]:
    """A line a point, under HEADERS."""
    per_epoch = found.lottery.steps_per_epoch(found.task)
    lines: list[tuple[str, ...]] = []
    for point in found.points:
        low, high = point["test_top1_low"], point["test_top1_high"]
        spread = "" if point["num_seeds"] == 1 else f" ({signed(point['gain_low'])} to {signed(point['gain_high'])})"
        lines.append(
            (
                NAMES.get(point["variant"], point["variant"]),
                f"{100 * point['kept']:.1f} %",
                f"{point['rewind'] / per_epoch:g}",
                str(point["num_seeds"]),
                f"{100 * point['test_top1']:.2f} %",
                f"{100 * low:.2f} to {100 * high:.2f}",
                f"{signed(point['gain'])}{spread}",
            )
        )
    return lines


def signed(fraction: float) -> str:
    """A difference in points.

    >>> signed(0.0123), signed(-0.00001)
    ('+1.23', '+0.00')
    """
    return f"{round(100 * fraction, 2) + 0.0:+.2f}"
