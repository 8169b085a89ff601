"""The table that comes first: dense against pruned, medians and spread over seeds."""

from collections.abc import Callable, Sequence

from prunelle.report import cells
from prunelle.report.cells import Cell, spread_cell, text_cell
from prunelle.report.groups import Group, group_rows, paired, spread, timing_settings
from prunelle.report.rows import Row, number
from prunelle.report.tables import Column, Table, mark

COLUMNS = (
    Column("Run", "the experiment", numeric=False),
    Column("Variant", "dense = before, pruned = after", numeric=False),
    Column("Models", "number of measured models, one per seed"),
    Column("Top-1 (%)", "share of test samples classified right"),
    Column("Change (points)", "top-1 against the dense model of the same seed, in percentage points"),
    Column("Size (KB)", "what is shipped, 1 KB = 1,000 bytes"),
    Column("Size / dense (×)", "bytes over the bytes of the dense model of the same seed; below 1 = smaller"),
    Column("Sparsity (%)", "share of zeros among the parameters"),
    Column("Nonzero MACs (M)", "million multiply-adds per input with a nonzero weight"),
    Column("Latency (ms)", "median time of one batch"),
    Column("Speedup (×)", "time of dense / time of this, measured interleaved; above 1 = faster"),
)
MIXED = Cell("mixed", title="timed under several runtimes, batch sizes or thread counts; see all measured models")


def headline(rows: Sequence[Row]) -> Table:
    """One line per run and variant, without the columns in which nothing was measured."""
    groups = group_rows(rows)
    lines = [_line(group) for group in groups]
    kept = [i for i in range(len(COLUMNS)) if any(not line[i].missing for line in lines)]
    marks = [mark(group.variant) for group in groups]
    return Table([COLUMNS[i] for i in kept], [[line[i] for i in kept] for line in lines], marks)


def _line(group: Group) -> list[Cell]:
    diverged = sum(bool(row.get("diverged")) for row in group.rows)
    mixed = len(timing_settings(group.rows)) > 1
    return [
        text_cell(group.run),
        text_cell(group.variant),
        Cell(str(len(group.rows)), f"{diverged} diverged" if diverged else "", sort=len(group.rows)),
        _with_interval(group, "top1", "top1_low", "top1_high", cells.percent),
        spread_cell(paired(group, "top1", lambda own, dense: own - dense), cells.points),
        spread_cell(_spread(group, "size_bytes"), cells.kilobytes, "bytes"),
        spread_cell(paired(group, "size_bytes", lambda own, dense: own / dense if dense else None), cells.ratio),
        spread_cell(_spread(group, "sparsity"), cells.percent),
        spread_cell(_spread(group, "macs_nonzero"), cells.millions, "MACs"),
        MIXED if mixed else spread_cell(_spread(group, "latency_median_ms"), cells.significant),
        MIXED if mixed else _speed_up(group),
    ]


def _spread(group: Group, key: str):
    return spread([number(row.get(key)) for row in group.rows])


def _with_interval(group: Group, key: str, low_key: str, high_key: str, show: Callable[[float], str]) -> Cell:
    """Median and spread; of a single model the measured interval instead of the spread."""
    cell = spread_cell(_spread(group, key), show)
    low, high = number(group.rows[0].get(low_key)), number(group.rows[0].get(high_key))
    if len(group.rows) > 1 or cell.missing or low is None or high is None:
        return cell
    return Cell(cell.text, f"{show(low)} … {show(high)}", "with its 95 % interval", cell.sort)


def _speed_up(group: Group) -> Cell:
    """The speedup, and in words when every model's interval holds 1. A dash for dense, which is 1 by definition."""
    if group.variant == "dense":
        return Cell(cells.MISSING, missing=True)
    cell = _with_interval(group, "latency_ratio", "ratio_low", "ratio_high", cells.ratio)
    if cell.missing or not all(_holds_one(row) for row in group.rows):
        return cell
    return Cell(cell.text, "no change", f"every interval holds 1.00; {cell.detail}", cell.sort)


def _holds_one(row: Row) -> bool:
    low, high = number(row.get("ratio_low")), number(row.get("ratio_high"))
    return low is not None and high is not None and low <= 1 <= high
