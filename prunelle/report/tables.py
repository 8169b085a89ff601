"""What a table of the page is, and the table of all measured models with its columns and units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prunelle.report import cells
from prunelle.report.cells import Cell, number_cell, text_cell
from prunelle.report.rows import Row, column_names, number


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
    marks: Sequence[str]


@dataclass(frozen=True)
class Measure:
    """How a key of the rows is shown. show: number -> text, None for words. unit: of the exact value's tooltip,
    "" where the text is exact enough to need none."""

    header: str
    title: str
    show: Callable[[float], str] | None = None
    unit: str = ""


MEASURES = {
    "id": Measure("Id", "folder of the run"),
    "run": Measure("Run", "the experiment this model belongs to"),
    "variant": Measure("Variant", "dense = before, pruned = after"),
    "model": Measure("Model", "architecture"),
    "seed": Measure("Seed", "seed of initialisation, batch order and split", str),
    "params": Measure("Params", "number of parameters of the shapes as they are", cells.count),
    "nnz": Measure("Nonzero", "parameters that are not zero", cells.count),
    "sparsity": Measure("Sparsity (%)", "share of zeros", cells.percent),
    "macs": Measure("MACs (M)", "million multiply-adds per input, of the shapes as they are", cells.millions, "MACs"),
    "macs_nonzero": Measure(
        "Nonzero MACs (M)",
        "million multiply-adds per input with a nonzero weight: what a sparse engine could be left with",
        cells.millions,
        "MACs",
    ),
    "size_bytes": Measure("Size (KB)", "what is shipped, 1 KB = 1,000 bytes", cells.kilobytes, "bytes"),
    "top1": Measure("Top-1 (%)", "share of test samples classified right", cells.percent),
    "top1_low": Measure("Top-1 low (%)", "lower end of the 95 % Wilson interval", cells.percent),
    "top1_high": Measure("Top-1 high (%)", "upper end of the 95 % Wilson interval", cells.percent),
    "num_test": Measure("Test samples", "samples that top-1 was measured on", cells.count),
    "loss": Measure("Loss", "mean loss on the test split", cells.significant),
    "latency_median_ms": Measure("Latency (ms)", "median time of one batch", cells.significant),
    "latency_p95_ms": Measure("p95 (ms)", "95 % of batches took at most this long", cells.significant),
    "latency_p99_ms": Measure("p99 (ms)", "99 % of batches took at most this long", cells.significant),
    "latency_ratio": Measure(
        "Speedup (×)", "time of dense / time of this, measured interleaved; above 1 = faster", cells.ratio
    ),
    "ratio_low": Measure("Speedup low (×)", "lower end of the speedup's interval", cells.ratio),
    "ratio_high": Measure("Speedup high (×)", "upper end of the speedup's interval", cells.ratio),
    "runtime": Measure("Runtime", "what executed the model"),
    "batch": Measure("Batch", "inputs per timed batch", cells.count),
    "threads": Measure("Threads", "CPU threads of the timed run", cells.count),
    "diverged": Measure("Diverged", "training hit NaN or a runaway loss; the last good weights were measured"),
}
LONGEST_ID = 16


def all_rows(rows: Sequence[Row]) -> Table:
    """Every measured model with every column in which at least one row has a value, further keys of the rows too."""
    keys = [key for key in column_names(rows) if any(row.get(key) not in (None, "") for row in rows)]
    columns = [Column(_measure(key).header, _measure(key).title, _is_numeric(key, rows)) for key in keys]
    lines = [[_row_cell(key, row.get(key)) for key in keys] for row in rows]
    return Table(columns, lines, [mark(row.get("variant")) for row in rows])


def mark(variant: Any) -> str:
    """The CSS class of a line."""
    return str(variant) if variant in ("dense", "pruned") else ""


def _measure(key: str) -> Measure:
    return MEASURES.get(key) or Measure(key, "")


def _is_numeric(key: str, rows: Sequence[Row]) -> bool:
    values = [row.get(key) for row in rows if row.get(key) is not None]
    return _measure(key).show is not None or all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _row_cell(key: str, value: Any) -> Cell:
    measure = _measure(key)
    if isinstance(value, float) or number(value) is not None:
        return number_cell(value, measure.show or cells.significant, measure.unit)
    if key == "id" and len(str(value)) > LONGEST_ID:
        return Cell(str(value)[: LONGEST_ID - 1] + "…", title=str(value))
    return text_cell(value)
