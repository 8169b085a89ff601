"""What a search leaves to read: the frontier as CSV and JSON, and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prunelle.fit.commands import search_again
from prunelle.fit.folder import Folder
from prunelle.fit.outcome import Outcome, Place
from prunelle.fit.rows import row as entry_row
from prunelle.fit.rows import rows
from prunelle.measure.accuracy import wilson
from prunelle.measure.environment import environment
from prunelle.report.fitted import Fitted, write_fitted
from prunelle.report.fitted_words import TOP1, limits_of
from prunelle.report.rows import Row, write_csv, write_json
from prunelle.ship.shipped import MANIFEST, Shipped, read_shipped

HEADS = (
    *("id", "name", "network", "file", "techniques", "epochs", "status", "why", "front", "met", "chosen", "runtime"),
    *("val_top1", "drop", "drop_error", "median_ms", "p95_ms", "share", "share_low", "share_high", "num_samples"),
    *("size_bytes", "params", "nnz", "final", "seconds", "path", "command"),
)
MEASURED = ("val_top1", "drop", "drop_error", "median_ms", "p95_ms", "share", "share_low", "share_high", "size_bytes")
COUNTED = ("params", "nnz", "num_samples")


def write_pages(outcome: Outcome, place: Place) -> None:
    """frontier.csv, frontier.json (all rows, with a column `front`) and report.html in place.out.

    Raises CorruptFileError, DiskError.
    """
    found = placed(outcome, place)
    tidy = [measured(one) for one in found]
    write_csv([{**one, "techniques": " ".join(one["techniques"])} for one in tidy], place.out / "frontier.csv", HEADS)
    write_json(tidy, place.out / "frontier.json", HEADS)
    write_fitted(fitted(outcome, place, found), place.out / "report.html")


def placed(outcome: Outcome, place: Place) -> list[dict[str, Any]]:
    """The rows, those without a file last; path: the folder below place.out in which the file lies, if it was kept: one
    on the frontier was dropped if a file beat it that came out worse when it was measured anew."""
    folder = Folder(place.out)
    stands = [one for one in outcome.entries if folder.place(one).is_dir()]
    where = {one.candidate.id: str(folder.place(one).relative_to(place.out)) for one in stands}
    found = sorted(rows(outcome, place), key=lambda one: one["status"] != "fit")
    return [{**one, "path": where.get(one["id"]) if one["front"] or one["chosen"] else None} for one in found]


def measured(row: Row) -> dict[str, Any]:
    """None for the figures of a candidate of which there is no file."""
    absent = () if row["status"] == "fit" else (*MEASURED, *COUNTED)
    return {**row, **dict.fromkeys(absent)}


def fitted(outcome: Outcome, place: Place, found: Sequence[Row]) -> Fitted:
    """The outcome as the page's plain values."""
    shipped = read_shipped(outcome.folder)
    one_file = [name for name, file in shipped.files.items() if file.runs]
    front = {one["id"] for one in found if one["front"]}
    return Fitted(
        title=f"{place.model}: the best file for a budget" if not outcome.missed else f"{place.model}: budget not met",
        summary=summary(outcome, place),
        take=str(outcome.folder / one_file[0]) if len(one_file) == 1 else str(outcome.folder),
        budget=vars(outcome.budget),
        dense=dense(outcome, found, shipped),
        rows=found,
        test=on_test(outcome),
        nearest={
            limit: entry_row(one, outcome, place, one.candidate.id in front) for limit, one in outcome.nearest.items()
        },
        missed=outcome.missed,
        minutes=outcome.spent / 60,
        command=search_again(outcome.budget, outcome.chosen, place),
        environment=environment(),
        files=files(outcome, shipped),
        metric=TOP1 if outcome.per_class else "metric",
    )


def summary(outcome: Outcome, place: Place) -> str:
    """What was asked and what was done."""
    asked = ", ".join(one.told for one in limits_of(vars(outcome.budget)))
    data = f" on {place.data}" if place.data else ""
    num = len(outcome.entries)
    tried = f"{num} candidate{'s' if num != 1 else ''} tried in {outcome.spent / 60:.1f} minutes"
    return f"Asked for {place.model}{data}: {asked}. {tried}."


def dense(outcome: Outcome, found: Sequence[Row], shipped: Shipped) -> dict[str, Any]:
    """The dense network: as the reference runtime's own file where that was made, else by its weights alone."""
    plain = [one for one in found if one["status"] == "fit" and one["network"] == "dense" and not one["techniques"]]
    own = next((one for one in plain if one["runtime"] == outcome.reference), None)
    counted = next(iter(plain), {})
    return {
        "name": outcome.reference,
        "val_top1": outcome.chosen.val_top1 + outcome.chosen.drop / 100,
        "median_ms": outcome.reference_ms,
        "share": 1.0,
        "size_bytes": own["size_bytes"] if own else shipped.sizes_bytes.get("dense_safetensors"),
        "size_of": f"as {own['file']}" if own else "its weights alone",
        "params": counted.get("params"),
        "nnz": counted.get("nnz"),
    }


def on_test(outcome: Outcome) -> dict[str, Any]:
    """The figures of the test split, with 95 % intervals where each example is right or wrong."""
    found: dict[str, Any] = {
        "top1": outcome.top1,
        "top1_dense": outcome.top1_dense,
        "drop": outcome.test_drop,
        "num_test": outcome.num_test,
        "per_class": outcome.per_class,
    }
    if right_or_wrong(outcome):
        found["interval"] = wilson(outcome.top1, outcome.num_test)
        found["interval_dense"] = wilson(outcome.top1_dense, outcome.num_test)
        found["drop_error"] = paired_error(outcome.per_class, outcome.num_test)
    return found


def right_or_wrong(outcome: Outcome) -> bool:
    """Whether the metric counts what is right, and the classes hold every example."""
    counted = sum(one["num"] for one in outcome.per_class)
    right = sum(one["num"] * one["top1_after"] for one in outcome.per_class if one["num"])
    return counted == outcome.num_test > 0 and math.isclose(right / counted, outcome.top1, abs_tol=1e-6)


def paired_error(per_class: Sequence[Mapping[str, Any]], count: int) -> float:
    """Standard error of the drop, in points, from the examples that changed.

    >>> paired_error([{"lost": 30, "gained": 20}], 1000)
    0.7063993204979744
    """
    lost, gained = (sum(one[key] for one in per_class) for key in ("lost", "gained"))
    return 100 * math.sqrt((lost + gained) / count - ((lost - gained) / count) ** 2) / math.sqrt(count)


def files(outcome: Outcome, shipped: Shipped) -> list[dict[str, Any]]:
    """What lies in the folder, what running needs first."""
    order = sorted(shipped.files.items(), key=lambda pair: (not pair[1].runs, pair[0]))
    found = [
        {
            "path": str(outcome.folder / name),
            "bytes": file.size_bytes,
            "what": "needed to run" if file.runs else "not needed to run",
        }
        for name, file in order
    ]
    return [*found, {"path": str(outcome.folder / MANIFEST), "bytes": None, "what": "what it is and how it was judged"}]
