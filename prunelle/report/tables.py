"""The tables of the page: which columns, in which unit, made of which rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prunelle.report import cells
from prunelle.report.cells import Cell, number_cell, spread_cell, text_cell
from prunelle.report.groups import Group, group_rows, paired, spread, timing_settings
from prunelle.report.rows import COLUMNS, Row, column_names, number


@dataclass(frozen=True)
class Column:
    """header: with its unit. title: what the column means, as a tooltip. numeric: right-aligned."""

    header: str
    title: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Columns, and one list of cells per line; marks[i] is a CSS class of line i ("dense", "pruned" or "")."""

    columns: Sequence[Column]
    lines: Sequence[Sequence[Cell]]
    marks: Sequence[str] = ()


# key: (header, tooltip, how a number is shown or None for words, unit of the exact value)
ROW_COLUMNS: dict[str, tuple[str, str, Callable[[float], str] | None, str]] = {
    "id": ("Id", "folder of the run", None, ""),
    "run": ("Run", "the experiment this model belongs to", None, ""),
    "variant": ("Variant", "dense = before, pruned = after", None, ""),
    "model": ("Model", "architecture", None, ""),
    "seed": ("Seed", "seed of initialisation, batch order and split", str, ""),
    "params": ("Params", "number of parameters of the shapes as they are", cells.count, "parameters"),
    "nnz": ("Nonzero", "parameters that are not zero", cells.count, "nonzero parameters"),
    "sparsity": ("Sparsity (%)", "share of zeros", cells.percent, "of 1"),
    "macs": ("MACs (M)", "million multiply-adds per input, of the shapes as they are", cells.millions, "MACs"),
    "macs_nonzero": (
        "Nonzero MACs (M)",
        "million multiply-adds per input with a nonzero weight: what a sparse engine could be left with",
        cells.millions,
        "MACs",
    ),
    "size_bytes": ("Size (KB)", "what is shipped, 1 KB = 1,000 bytes", cells.kilobytes, "bytes"),
    "top1": ("Top-1 (%)", "share of test samples classified right", cells.percent, "of 1"),
    "top1_low": ("Top-1 low (%)", "lower end of the 95 % Wilson interval", cells.percent, "of 1"),
    "top1_high": ("Top-1 high (%)", "upper end of the 95 % Wilson interval", cells.percent, "of 1"),
    "num_test": ("Test samples", "samples that top-1 was measured on", cells.count, "samples"),
    "loss": ("Loss", "mean loss on the test split", cells.significant, ""),
    "latency_median_ms": ("Latency (ms)", "median time of one batch", cells.milliseconds, "ms"),
    "latency_p95_ms": ("p95 (ms)", "95 % of batches took at most this long", cells.milliseconds, "ms"),
    "latency_p99_ms": ("p99 (ms)", "99 % of batches took at most this long", cells.milliseconds, "ms"),
    "latency_ratio": ("Speed-up (×)", "time of dense / time of this, interleaved; above 1 = faster", cells.ratio, "×"),
    "ratio_low": ("Speed-up low (×)", "lower end of the speed-up's interval", cells.ratio, "×"),
    "ratio_high": ("Speed-up high (×)", "upper end of the speed-up's interval", cells.ratio, "×"),
    "runtime": ("Runtime", "what executed the model", None, ""),
    "batch": ("Batch", "inputs per timed batch", cells.count, "inputs"),
    "threads": ("Threads", "CPU threads of the timed run", cells.count, "threads"),
    "diverged": ("Diverged", "training hit NaN or a runaway loss; the last good weights were measured", None, ""),
}


def all_rows(rows: Sequence[Row]) -> Table:
    """Every measured model with every column in which at least one row has a value."""
    names = [key for key in column_names(rows) if any(row.get(key) not in (None, "") for row in rows)]
    columns, lines = [], []
    for key in names:
        header, title, show, _ = ROW_COLUMNS.get(key, (key, "", None, ""))
        numeric = show is not None or all(number(r.get(key)) is not None for r in rows if r.get(key) is not None)
        columns.append(Column(header, title, numeric))
    for row in rows:
        lines.append([_row_cell(key, row.get(key)) for key in names])
    return Table(columns, lines, [_mark(row.get("variant")) for row in rows])


def _row_cell(key: str, value: Any) -> Cell:
    _, _, show, unit = ROW_COLUMNS.get(key, ("", "", None, ""))
    if number(value) is not None:
        shown = show or (cells.significant if key not in COLUMNS else str)
        return number_cell(value, shown, unit)
    if isinstance(value, float):
        return Cell(cells.MISSING, title="not a finite number", missing=True)
    if key == "id" and value is not None and len(str(value)) > 12:
        return Cell(str(value)[:10] + "…", title=str(value))
    return text_cell(value)


def _mark(variant: Any) -> str:
    return str(variant) if variant in ("dense", "pruned") else ""


def headline(rows: Sequence[Row]) -> Table:
    """One line per run and variant: medians over seeds with smallest and largest, and pruned against dense."""
    groups = group_rows(rows)
    columns = [
        Column("Run", "the experiment", numeric=False),
        Column("Variant", "dense = before, pruned = after", numeric=False),
        Column("Models", "number of measured models, one per seed"),
        Column("Top-1 (%)", "share of test samples classified right"),
        Column("Change (points)", "top-1 against the dense model of the same seed, in percentage points"),
        Column("Size (KB)", "what is shipped, 1 KB = 1,000 bytes"),
        Column("Size against dense (×)", "bytes / bytes of the dense model of the same seed; below 1 = smaller"),
        Column("Sparsity (%)", "share of zeros among the parameters"),
        Column("Nonzero MACs (M)", "million multiply-adds per input with a nonzero weight"),
        Column("Latency (ms)", "median time of one batch"),
        Column("Speed-up (×)", "time of dense / time of this, measured interleaved; above 1 = faster"),
    ]
    lines = [_headline_line(group) for group in groups]
    kept = [i for i in range(len(columns)) if any(not line[i].missing for line in lines)]
    marks = [_mark(group.variant) for group in groups]
    return Table([columns[i] for i in kept], [[line[i] for i in kept] for line in lines], marks)


def _headline_line(group: Group) -> list[Cell]:
    def values(key: str) -> list[float | None]:
        return [number(row.get(key)) for row in group.rows]

    diverged = sum(bool(row.get("diverged")) for row in group.rows)
    mixed = len(timing_settings(group.rows)) > 1
    not_comparable = Cell("mixed", title="timed under several runtimes, batch sizes or thread counts; see all rows")
    return [
        text_cell(group.run),
        text_cell(group.variant),
        Cell(str(len(group.rows)), f"{diverged} diverged" if diverged else "", sort=len(group.rows)),
        _with_interval(group, "top1", ("top1_low", "top1_high"), cells.percent, "of 1"),
        spread_cell(paired(group, "top1", lambda own, dense: own - dense), cells.points, "of 1"),
        spread_cell(spread(values("size_bytes")), cells.kilobytes, "bytes"),
        spread_cell(paired(group, "size_bytes", lambda own, dense: own / dense if dense else 1.0), cells.ratio, "×"),
        spread_cell(spread(values("sparsity")), cells.percent, "of 1"),
        spread_cell(spread(values("macs_nonzero")), cells.millions, "MACs"),
        not_comparable if mixed else spread_cell(spread(values("latency_median_ms")), cells.milliseconds, "ms"),
        not_comparable if mixed else _speed_up(group),
    ]


def _with_interval(group: Group, key: str, ends: tuple[str, str], show: Callable, unit: str) -> Cell:
    """Median and spread; of a single model the measured interval instead of the spread."""
    cell = spread_cell(spread([number(row.get(key)) for row in group.rows]), show, unit)
    low, high = (number(group.rows[0].get(end)) for end in ends)
    if len(group.rows) > 1 or cell.missing or low is None or high is None:
        return cell
    return Cell(cell.text, f"95 %: {show(low)} … {show(high)}", cell.title, cell.sort)


def _speed_up(group: Group) -> Cell:
    """The speed-up, and in words when no model's interval leaves 1 out. The dense side is 1 by definition: a dash."""
    if group.variant == "dense":
        return Cell(cells.MISSING, missing=True)
    cell = _with_interval(group, "latency_ratio", ("ratio_low", "ratio_high"), cells.ratio, "×")
    intervals = [(number(row.get("ratio_low")), number(row.get("ratio_high"))) for row in group.rows]
    known = [(low, high) for low, high in intervals if low is not None and high is not None]
    if cell.missing or len(known) < len(group.rows) or not all(low <= 1 <= high for low, high in known):
        return cell
    return Cell(cell.text, "no change measured", cell.title, cell.sort)


def flips_table(flips: Row) -> Table:
    """One line per class: top-1 before and after, and the predictions that flipped."""
    columns = [
        Column("Class", numeric=False),
        Column("Test samples", "test samples of this class"),
        Column("Top-1 before (%)", "of the dense model"),
        Column("Top-1 after (%)", "of the pruned model"),
        Column("Change (points)", "after - before, in percentage points"),
        Column("Lost", "samples that were right before and are wrong after"),
        Column("Gained", "samples that were wrong before and are right after"),
    ]
    names = flips.get("class_names") or []
    lines = []
    for entry in flips.get("per_class") or []:
        before, after = number(entry.get("top1_before")), number(entry.get("top1_after"))
        change = after - before if before is not None and after is not None else None
        lines.append(
            [
                text_cell(class_name(entry.get("class"), names)),
                number_cell(entry.get("num"), cells.count, "samples"),
                number_cell(before, cells.percent, "of 1"),
                number_cell(after, cells.percent, "of 1"),
                number_cell(change, cells.points, "of 1"),
                number_cell(entry.get("lost"), cells.count, "samples"),
                number_cell(entry.get("gained"), cells.count, "samples"),
            ]
        )
    return Table(columns, lines, [""] * len(lines))


def class_name(label: Any, names: Sequence[str]) -> str:
    """The name of a class that is given by name or by its index in `names`."""
    is_index = isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names)
    return str(names[label]) if is_index else str(label)
