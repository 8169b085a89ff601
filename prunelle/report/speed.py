"""Times side by side, as one offline HTML file: a bar a runtime or file, its interval, bytes and parity.

Plain HTML and CSS: no script, and nothing to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunelle.report.cells import MISSING, significant
from prunelle.report.plain import plain_page, text
from prunelle.report.rows import Row, number, write_text
from prunelle.report.structure import table
from prunelle.report.style import PALETTE

WIDTH = 260
CSS = """
td { vertical-align: middle; }
.bar span { display: inline-block; height: 14px; border-radius: 2px; vertical-align: middle; min-width: 2px; }
.bar i { display: inline-block; height: 3px; background: #b8c0c9; vertical-align: middle; }
.bar small { display: inline; margin-left: 6px; color: var(--soft); font-size: 12px; }
td.why { white-space: normal; min-width: 20em; }
tr.winner td { background: var(--pruned); font-weight: 600; }
tr.out td { color: var(--soft); }
"""


@dataclass(frozen=True)
class Speeds:
    """What the page shows; an empty part is left out.

    rows: name, runtime, median_ms, p95_ms, p99_ms, ratio, ratio_low, ratio_high, size_bytes; and where it was judged
    parity ({"equal", "error", "top1_before", "top1_after"}), status, why, winner. Any of them missing or None.
    sizes: what -> bytes or None. layers: layer, kernel, us, dense_us, measured, theoretical.
    """

    title: str
    summary: str
    rows: Sequence[Row]
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    layers: Sequence[Row] = ()
    notes: Sequence[str] = ()
    command: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)


def write_speeds(found: Speeds, path: Path | str) -> Path:
    """Write the page and return its path; folders on the way are made. Raises DiskError."""
    target = Path(path)
    write_text(target, speeds_html(found))
    return target


def speeds_html(found: Speeds) -> str:
    """The page as text; names are shown as they stand, never read as HTML."""
    judged = [row for row in found.rows if row.get("parity") or row.get("why")]
    parts = [
        section("times", "Time of one call, shorter is faster", times_table(found.rows)),
        section("parity", "Held to the model", parity_table(judged)) if judged else "",
        section("sizes", "Bytes on disk", sizes_table(found.sizes)) if found.sizes else "",
        section("layers", "Where the time goes", layers_table(found.layers)) if found.layers else "",
        section("notes", "Notes", "".join(f"<p>{text(note)}</p>" for note in found.notes)) if found.notes else "",
        section("environment", "Measured on", pairs(found.environment, found.command)),
    ]
    return plain_page(found.title, "Prunelle", found.summary, CSS, "".join(parts))


def section(key: str, title: str, body: str) -> str:
    return f'<section id="{key}"><h2>{text(title)}</h2>{body}</section>\n'


def times_table(rows: Sequence[Row]) -> str:
    """A row each, with a bar of its median and a thin one up to its 99th percentile."""
    largest = max((value for row in rows if (value := number(row.get("median_ms")))), default=1.0)
    heads = ("what", "runtime", "median, to p99", "p95, p99 (ms)", "times as fast", "bytes")
    return table(heads, [time_line(row, largest) for row in rows])


def time_line(row: Row, largest: float) -> str:
    median = number(row.get("median_ms"))
    mark = "winner" if row.get("winner") else "out" if median is None else ""
    color = PALETTE[2] if row.get("winner") else PALETTE[0]
    bar = MISSING
    if median is not None:
        length = WIDTH * median / largest
        over = min(WIDTH - length, WIDTH * max(0.0, (number(row.get("p99_ms")) or median) - median) / largest)
        bar = (
            f'<span style="width:{length:.1f}px;background:{color}"></span><i style="width:{max(0, over):.1f}px"></i>'
            f"<small>{significant(median)} ms</small>"
        )
    cells = [
        f"<td>{text(row.get('name', ''))}</td><td>{text(row.get('runtime') or MISSING)}</td>",
        f'<td class="bar">{bar}</td>',
        figure(", ".join(significant(v) for key in ("p95_ms", "p99_ms") if (v := number(row.get(key))) is not None)),
        figure(ratio_text(row)),
        figure(f"{size:,}" if (size := number(row.get("size_bytes"))) is not None else ""),
    ]
    return f'<tr class="{mark}">{"".join(cells)}</tr>'


def ratio_text(row: Row) -> str:
    """The ratio and its interval, '' where there is none.

    >>> ratio_text({"ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1})
    '2.00 (1.90 to 2.10)'
    """
    ratio, low, high = (number(row.get(key)) for key in ("ratio", "ratio_low", "ratio_high"))
    if ratio is None:
        return ""
    if low is None or high is None or low == high:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def parity_table(rows: Sequence[Row]) -> str:
    """A row each: how close its outputs are to the model's, and whether it may be shipped."""
    return table(("what", "equal predictions", "largest error", "top-1", "verdict"), map(parity_line, rows))


def parity_line(row: Row) -> str:
    parity = row.get("parity") or {}
    equal, error = number(parity.get("equal")), number(parity.get("error"))
    before, after = number(parity.get("top1_before")), number(parity.get("top1_after"))
    verdict = "shipped" if row.get("winner") else row.get("why") or row.get("status") or ""
    return (
        f'<tr class="{"winner" if row.get("winner") else "" if parity else "out"}"><td>{text(row.get("name", ""))}</td>'
        + figure("" if equal is None else f"{100 * equal:.2f} %")
        + figure("" if error is None else f"{error:.1e}")
        + figure("" if before is None or after is None else f"{100 * before:.2f} → {100 * after:.2f} %")
        + f'<td class="why">{text(verdict)}</td></tr>'
    )


def figure(shown: str) -> str:
    return f'<td class="num">{text(shown or MISSING)}</td>'


def sizes_table(sizes: Mapping[str, int | None]) -> str:
    """A row a form, the dense one first: bytes, and how many times smaller."""
    dense = next(iter(sizes.values()), None)
    rows = [
        f"<tr><td>{text(name)}</td>{figure('' if size is None else f'{size:,}')}"
        f"{figure(f'{dense / size:.2f}' if dense and size else '')}</tr>"
        for name, size in sizes.items()
    ]
    return table(("form", "bytes", "times smaller"), rows)


def layers_table(layers: Sequence[Row]) -> str:
    """A row a layer: its time as a bar, and what its zeros bring beside what they could."""
    largest = max([row["us"] for row in layers] + [1e-9])
    rows = [layer_line(row, largest) for row in layers]
    heads = ("layer", "kernel", "time", "multiply-adds, dense", "not zero", "measured ×", "theoretical ×")
    return table(heads, rows)


def layer_line(row: Row, largest: float) -> str:
    width, macs, dense = WIDTH * row["us"] / largest, f"{row['macs']:,}", f"{row['dense_macs']:,}"
    figures = (dense, macs, times(row.get("measured")), times(row.get("theoretical")))
    return (
        f'<tr><td>{text(row["layer"])}</td><td>{text(row["kernel"])}</td><td class="bar">'
        f'<span style="width:{width:.1f}px;background:{PALETTE[0]}"></span>'
        f"<small>{significant(row['us'])} µs</small></td>{''.join(map(figure, figures))}</tr>"
    )


def times(value: Any) -> str:
    known = number(value)
    return "" if known is None else f"{known:.2f}"


def pairs(values: Mapping[str, Any], command: str) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    if command:
        known["command"] = command
    rows = [f"<tr><td>{text(name)}</td><td class='why'>{text(value)}</td></tr>" for name, value in known.items()]
    return table(("what", "value"), rows)
