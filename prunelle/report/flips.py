"""Which predictions changed between the dense and the pruned model, class by class."""

from collections.abc import Sequence
from typing import Any

from prunelle.report import cells
from prunelle.report.cells import number_cell, text_cell
from prunelle.report.rows import Row, number
from prunelle.report.tables import Column, Table

COLUMNS = (
    Column("Class", numeric=False),
    Column("Test samples", "test samples of this class"),
    Column("Top-1 before (%)", "of the dense model"),
    Column("Top-1 after (%)", "of the pruned model"),
    Column("Change (points)", "after - before, in percentage points"),
    Column("Lost", "samples that were right before and are wrong after"),
    Column("Gained", "samples that were wrong before and are right after"),
)


def flips_table(flips: Row) -> Table:
    """One line per class, in the order given."""
    lines = []
    for entry in flips.get("per_class") or []:
        before, after = number(entry.get("top1_before")), number(entry.get("top1_after"))
        change = after - before if before is not None and after is not None else None
        lines.append(
            [
                text_cell(class_name(entry.get("class"), flips.get("class_names") or [])),
                number_cell(entry.get("num"), cells.count),
                number_cell(before, cells.percent),
                number_cell(after, cells.percent),
                number_cell(change, cells.points),
                number_cell(entry.get("lost"), cells.count),
                number_cell(entry.get("gained"), cells.count),
            ]
        )
    return Table(COLUMNS, lines, [""] * len(lines))


def class_name(label: Any, names: Sequence[str]) -> str:
    """The name of a class that is given by name or by its index in `names`."""
    is_index = isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names)
    return str(names[label]) if is_index else str(label)


def flips_sentence(flips: Row) -> str:
    """The totals over all classes."""
    entries = flips.get("per_class") or []
    lost, gained, num = (sum(number(entry.get(key)) or 0 for entry in entries) for key in ("lost", "gained", "num"))
    of_all = f", of {num:,} test samples" if num else ""
    return f"Right before and wrong after: {lost:,}; wrong before and right after: {gained:,}{of_all}."
