"""The tables of a class-wise network: its members, the answers most often mixed up, times, layers."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report import cells
from prunelle.report.cells import Cell, number_cell, text_cell
from prunelle.report.classwise_order import Order
from prunelle.report.classwise_words import shown
from prunelle.report.fitted_tables import figure, grid, small
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.sorting import sortable
from prunelle.report.speed import ratio_text
from prunelle.report.tables import Column, Table

FOLD_FROM = 13
"""Names of so many classes are folded."""
MOST_CONFUSIONS = 10


def members_table(members: Sequence[Row]) -> str:
    """A row a member."""
    heads = ("#member", "classes", "#MACs (M)", "#params", "#KB", "#epochs", "#validation, %", "#test, %",
             "#temperature", "#bias", f"#ms alone{runtime_of(members)}")  # fmt: skip
    lines = []
    for one in members:
        found = (
            text(one["member"]),
            classes(one["classes"]),
            with_share(one, "macs", cells.millions),
            with_share(one, "params", cells.count),
            figure(one.get("size_bytes"), cells.kilobytes),
            epochs(one),
            figure(one.get("val_top1"), cells.percent),
            figure(one.get("test_top1"), cells.percent),
            figure(one.get("temperature"), cells.significant),
            figure(one.get("bias"), cells.signed),
            figure(one.get("latency_ms"), cells.significant),
        )
        lines.append(("", found))
    kept = [place for place in range(len(heads)) if any(line[1][place] not in ("", cells.MISSING) for line in lines)]
    return grid([heads[p] for p in kept], [(mark, [line[p] for p in kept]) for mark, line in lines])


def runtime_of(members: Sequence[Row]) -> str:
    """In which members were timed by themselves, after a comma."""
    found = next((one["latency_runtime"] for one in members if one.get("latency_runtime")), None)
    return "" if found is None else f", {found}"


def classes(names: Sequence[str]) -> str:
    joined = text(", ".join(map(str, names)))
    if len(names) < FOLD_FROM:
        return joined
    return f"<details><summary>{len(names)} classes</summary>{joined}</details>"


def with_share(row: Row, key: str, show) -> str:
    """A figure, and below it how much of the whole network that is."""
    share = number(row.get(f"{key}_share"))
    return figure(row.get(key), show) + ("" if share is None else small(shown(share)))


def epochs(row: Row) -> str:
    """Epochs trained, and below it those that early stopping left out."""
    saved = number(row.get("epochs_saved"))
    return figure(row.get("epochs"), cells.count) + (small(f"{saved:,} saved") if saved else "")


def confusions(counts: Sequence[Sequence[int]], order: Order) -> list[tuple[int, int, int]]:
    """(true, answered, count) of the most frequent wrong answers, the most first, then by class.

    >>> confusions([[5, 2, 0], [0, 5, 1], [3, 0, 5]], Order("abc", [], []))
    [(2, 0, 3), (0, 1, 2), (1, 2, 1)]
    """
    found = [
        (true, answered, counts[true][answered])
        for true in order.classes
        for answered in order.classes
        if true != answered and counts[true][answered]
    ]
    return sorted(found, key=lambda one: (-one[2], one[0], one[1]))[:MOST_CONFUSIONS]


def confusion_table(found: Sequence[tuple[int, int, int]], order: Order) -> str:
    """A row a pair of classes."""
    lines = [
        (
            "",
            (
                text(order.names[true]),
                text(order.names[answered]),
                f"{num:,}",
                "yes" if order.same(true, answered) else "no",
            ),
        )
        for true, answered, num in found
    ]
    return grid(("true class", "answered", "#images", "same group?"), lines, stacked=False)


def speed_table(speed: Sequence[Row]) -> str:
    """A row a way of answering one image, runtime by runtime; the others are held against the first of a runtime."""
    lines = []
    for runtime in dict.fromkeys(row["runtime"] for row in speed):
        for row in (one for one in speed if one["runtime"] == runtime):
            times = text(ratio_text(row)) or "1"
            name = (text(row["runtime"]), text(row["what"]))
            ms = (figure(row.get(key), cells.significant) for key in ("ms", "p95_ms"))
            lines.append(("", (*name, *ms, times)))
    return grid(("runtime", "what answers", "#ms, median", "#ms, p95", "#times as fast"), lines)


def layers_table(rows: Sequence[Row]) -> str:
    """Every member and layer, sortable."""
    columns = [
        Column("Member", "its number"),
        Column("Classes", "that it answers for", numeric=False),
        Column("Layer", "by its name in the network", numeric=False),
        Column("Channels", "output channels that are left"),
        Column("of", "output channels in the whole network"),
        Column("Kept (%)", "share of the channels"),
        Column("Params", "parameters that are left"),
        Column("of", "parameters in the whole network"),
        Column("MACs", "multiply-adds of one image that are left"),
        Column("of", "multiply-adds in the whole network"),
    ]
    return sortable(Table(columns, [layer_line(row) for row in rows], [""] * len(rows)), "rows")


def layer_line(row: Row) -> list[Cell]:
    name = str(row.get("classes") or "")
    told = Cell(name if len(name) <= 40 else f"{name[:39]}…", title="" if len(name) <= 40 else name)
    keys = ("channels", "channels_dense", "kept", "params", "params_dense", "macs", "macs_dense")
    values = {**row, "kept": kept(row)}
    shows = {"kept": lambda value: f"{100 * value:.1f}"}
    figures = [number_cell(values.get(key), shows.get(key, cells.count)) for key in keys]
    member = number_cell(row["member"], cells.count) if number(row["member"]) is not None else text_cell(row["member"])
    return [member, told, text_cell(row["layer"]), *figures]


def kept(row: Row) -> float | None:
    """The share of a layer's channels that is left.

    >>> kept({"channels": 4, "channels_dense": 16})
    0.25
    """
    own, dense = number(row.get("channels")), number(row.get("channels_dense"))
    return own / dense if own is not None and dense else None
