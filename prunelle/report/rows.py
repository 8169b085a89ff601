"""Everything that stands on a report page, as plain values, and the rows as CSV and JSON."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from prunelle.files import atomic_write, disk_error

Row = Mapping[str, Any]

COLUMNS = (
    "id",
    "run",
    "variant",
    "model",
    "seed",
    "params",
    "nnz",
    "sparsity",
    "macs",
    "macs_nonzero",
    "size_bytes",
    "top1",
    "top1_low",
    "top1_high",
    "num_test",
    "loss",
    "latency_median_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_ratio",
    "ratio_low",
    "ratio_high",
    "runtime",
    "batch",
    "threads",
    "diverged",
)


@dataclass(frozen=True)
class Report:
    """All that a page shows. Every part but the title may be empty; an empty part is left out of the page.

    summary: the headline in one sentence, as the caller can stand behind it.
    rows: one mapping per measured model, keys as COLUMNS, any of them missing or None. `run` is a label such as
        "polynomial", `variant` is "dense" or "pruned", `top1` and `sparsity` are fractions, `size_bytes` is in bytes,
        `latency_*_ms` in milliseconds per batch, `latency_ratio` is the time of the dense model over the time of this
        one (above 1 = faster), both measured interleaved.
    curves: {"name", "points": [{"epoch", "train_loss", "val_loss", "val_top1", "sparsity", "lr"}, ...]}, and optionally
        "run": curves of one run share a colour and a legend entry.
    layers: {"run", "layer", "params_before", "params_after", "macs_before", "macs_after"}, after = nonzero ones. Of two
        lines with the same run and layer the first is shown: one representative pair per run.
    flips: {"class_names", "per_class": [{"class", "num", "top1_before", "top1_after", "lost", "gained"}]}; a class is
        a name or an index into class_names; lost = right before and wrong after, gained = the other way round.
    commands: the command lines that made these figures. environment: names to values, may be nested.
    files: {"path", "bytes", "what"} of what is shipped. notes: sentences.
    """

    title: str
    summary: str = ""
    rows: Sequence[Row] = ()
    curves: Sequence[Row] = ()
    layers: Sequence[Row] = ()
    flips: Row | None = None
    commands: Sequence[str] = ()
    environment: Row = field(default_factory=dict)
    files: Sequence[Row] = ()
    notes: Sequence[str] = ()


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None (text, True, NaN and infinity are not).

    >>> number(3), number(float("nan")), number("3")
    (3, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def column_names(rows: Iterable[Row], first: Sequence[str] = COLUMNS) -> list[str]:
    """`first` in its order, then every further key of the rows in alphabetical order."""
    return [*first, *sorted({key for row in rows for key in row} - set(first))]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows_csv(rows: Sequence[Row], first: Sequence[str] = COLUMNS) -> str:
    """The rows as CSV text with a header, columns as `column_names` says, in full precision.

    What was not measured (None, NaN) is an empty field.
    """
    names = column_names(rows, first)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = [_plain(row.get(name)) for name in names]
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
    return text.getvalue()


def rows_json(rows: Sequence[Row], first: Sequence[str] = COLUMNS) -> str:
    """The rows as a JSON list of objects, all with the same keys; what was not measured (None, NaN) is null."""
    names = column_names(rows, first)
    return json.dumps([{name: _plain(row.get(name)) for name in names} for row in rows], indent=1, allow_nan=False)


def write_csv(rows: Sequence[Row], path: Path | str, first: Sequence[str] = COLUMNS) -> None:
    """rows_csv into a file; folders on the way are made. Raises DiskError."""
    write_text(Path(path), rows_csv(rows, first))


def write_json(rows: Sequence[Row], path: Path | str, first: Sequence[str] = COLUMNS) -> None:
    """rows_json into a file; folders on the way are made. Raises DiskError."""
    write_text(Path(path), rows_json(rows, first) + "\n")


def write_text(path: Path, text: str) -> None:
    """Text into a UTF-8 file, whole or not at all; folders on the way are made. Raises DiskError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from None
    # A file name that is not UTF-8 reaches us as lone surrogates, which UTF-8 cannot hold.
    atomic_write(path, text.encode("utf-8", "backslashreplace"))
