"""The tables of a search for tickets: gains, trainings, the trial of ways to train, what is beside the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunelle.report import cells
from prunelle.report.cells import Cell, number_cell, text_cell
from prunelle.report.fitted_tables import grid, small
from prunelle.report.fitted_words import TOP1
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.sorting import sortable
from prunelle.report.tables import Column, Table
from prunelle.report.tickets_held import Held, at_point
from prunelle.report.tickets_picture import Scene, same
from prunelle.report.tickets_words import NAMES, ONE, band, gain, origin, share

KINDS = {"match": "✓", "miss": "✗", "open": ""}


def gain_kind(point: Row, within: float) -> str:
    """match: at most `within` below the dense networks, the whole interval; miss: further below, the whole interval;
    open: the seeds cannot tell, or it is one alone.

    >>> gain_kind({"gain_low": -0.0004, "gain_high": 0.001, "num_seeds": 3}, 0.001)
    'match'
    """
    if point["num_seeds"] < 2:
        return "open"
    limit = -within - 1e-9
    return "match" if point["gain_low"] >= limit else "miss" if point["gain_high"] < limit else "open"


def gain_table(variant: str, scene: Scene, within: float) -> str:
    """A row a share kept, a column a rewinding point: the mean change against the dense network and its interval."""
    own = [one for one in scene.points if one["variant"] == variant]
    columns = {r: at_point(own, variant, r) for r in scene.rewinds}
    lines = []
    for kept in sorted({one["kept"] for one in own}, reverse=True):
        found = [next((one for one in columns[r] if one["kept"] == kept), None) for r in scene.rewinds]
        lines.append(("", (share(kept), *(gain_cell(one, scene, within) for one in found))))
    return grid(("#kept", *(f"#{origin(*point)}" for point in scene.rewinds.items())), lines, stacked=False)


def gain_cell(point: Row | None, scene: Scene, within: float) -> str:
    if point is None:
        return ""
    kind = gain_kind(point, within)
    won = scene.winner is not None and same(point, scene.winner)
    word = "winner" if scene.winner and scene.winner["matches"] else "best"
    tag = f" <b class=tag>{word}</b>" if won else ""
    mean, _, half = gain(point).partition(" ")
    return f'<span class="{kind}">{mean} {KINDS[kind]}</span>{tag}{small(half) if half else ""}'


def held_table(held: Sequence[Held], own: str, metric: str) -> str:
    """A row a control: its accuracy, the winner's over the same seeds, the lead."""
    lines: list[tuple[str, Sequence[str]]] = []
    for one in held:
        if one.own is None or one.other is None or one.lead is None:
            lines.append(("out", (NAMES[one.control], "", "", "", "not trained to the end")))
            continue
        words = "yes" if one.clear else "one seed cannot tell" if one.own.num == 1 else "no"
        sign = f'<span class="{"good" if one.clear else "bad" if words == "no" else ""}">{words}</span>'
        figures = (str(one.own.num), band(one.own, metric), band(one.other, metric), cells.points(one.lead))
        lines.append(("", (NAMES[one.control], *figures, sign)))
    heads = ("control", "#seeds", f"#{own}", "#the control", "#ahead by, points", "by more than the band?")
    return grid(heads, lines)


def trainings(rows: Sequence[Row], metric: str = TOP1) -> str:
    """Every training, in the grid's order."""
    unit = " (%)" if metric == TOP1 else ""
    columns = [
        Column("What", "dense network, ticket, or which control", numeric=False),
        Column("Kept (%)", "share of the prunable weights that the mask keeps"),
        Column("Rewound to", "epoch of the dense run whose weights it began from"),
        Column("Seed"),
        Column("Status", "done, converged or hopeless (ended early), diverged, skipped", numeric=False),
        Column(f"Validation{unit}", f"{metric} on the validation split"),
        Column(f"Test{unit}", f"{metric} on the test split"),
        Column("Change", "on the test split against the dense network of the same seed, in points"),
        Column("Nonzero", "prunable weights that are not zero"),
        Column("Updates"),
        Column("Seconds", "of its training, in a group of fused ones its share"),
        Column("How", "way of training", numeric=False),
        Column("Run", "its folder", numeric=False),
    ]
    lines = [training_line(row, metric) for row in rows]
    marks = ["dense" if row["variant"] == "dense" else "" for row in rows]
    return sortable(Table(columns, lines, marks), "rows")


def training_line(row: Row, metric: str) -> list[Cell]:
    shown = cells.percent if metric == TOP1 else cells.significant
    test, dense = number(row.get("test_top1")), number(row.get("dense_test_top1"))
    change = None if test is None or dense is None or row["variant"] == "dense" else test - dense
    plain = {"val": row.get("val_top1"), "test": row.get("test_top1")}
    return [
        Cell(ONE.get(row["variant"], str(row["variant"]))),
        number_cell(row["kept"], lambda value: f"{100 * value:.3g}"),
        number_cell(row.get("rewind_epoch"), lambda value: f"{value:.3g}"),
        number_cell(row["seed"], cells.count),
        text_cell(row["status"]),
        *(number_cell(value, shown) for value in plain.values()),
        number_cell(change, cells.points),
        number_cell(row.get("nnz"), cells.count),
        number_cell(row.get("updates"), cells.count),
        number_cell(row.get("seconds"), cells.significant),
        text_cell(row.get("how")),
        text_cell(row.get("run")),
    ]


def trial_table(arrangement: Mapping) -> str:
    """A row a way of training that was tried: what it took, and how much all processes together got done."""
    rates = arrangement.get("rates") or ()
    base = next(
        (one["seconds"] / one["together"] for one in rates if (one["how"], one["together"]) == ("plain", 1)), None
    )
    lines = []
    for one in rates:
        each = one["seconds"] / one["together"]
        group = 1 if one["how"] == "plain" else one.get("group", 1)
        figures = (
            str(one["together"]), str(group), share(one["kept"]), cells.significant(1e3 * one["seconds"]),
            cells.significant(1 / each), f"{base / each:.2f}" if base else "",
        )  # fmt: skip
        lines.append(("", (text(one["how"]), *figures)))
    heads = (
        "way of training",
        "#processes at once",
        "#members together",
        "#weights kept",
        "#ms an update",
        "#updates a second in all",
        "#× plain in one process",
    )
    return grid(heads, lines, stacked=False)
