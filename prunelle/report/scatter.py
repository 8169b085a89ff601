"""Accuracy against a cost, with the Pareto front, as a plotly figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report import cells
from prunelle.report.groups import group_rows, timing_settings
from prunelle.report.pareto import pareto_front
from prunelle.report.rows import Row, number
from prunelle.report.style import Figure, label, layout

FRONT_COLOR = "#1f2933"
LOG_FROM_RATIO = 20


@dataclass(frozen=True)
class Cost:
    """A key of the rows as an axis.

    key: "size_bytes", for one. title: of the axis, with its unit. scale: what values are divided by to be in that unit.
    ticks: their d3 format, "" for plotly's own. comparable: False when not all were measured alike; then no front.
    """

    key: str
    title: str
    scale: float = 1
    ticks: str = ""
    comparable: bool = True


def accuracy_against(cost: Cost, rows: Sequence[Row], colors: dict[str, str]) -> Figure | None:
    """Top-1 in % over a cost, a point per measured model, and the Pareto front through those none other beats.

    colors: by run. Dense models are open circles, pruned ones filled diamonds. None without points.
    The cost axis starts at 0, or is logarithmic where costs differ more than LOG_FROM_RATIO times.
    """
    known = [row for row in rows if number(row.get(cost.key)) is not None and number(row.get("top1")) is not None]
    if not known:
        return None
    traces = [_front([_place(row, cost) for row in known])] if cost.comparable else []
    for group in group_rows(known):
        traces.append(_points(group.run, group.variant, group.rows, cost, colors[group.run]))
    costs = [row[cost.key] for row in known]
    if min(costs) > 0 and max(costs) / min(costs) > LOG_FROM_RATIO:
        figure = layout(f"{cost.title}, log scale", "Top-1 (%)")
        figure["xaxis"] |= {"type": "log", "dtick": 1, "tickformat": cost.ticks or ",~g"}
        figure["xaxis"]["minor"] = {"dtick": "D1", "ticks": "outside", "ticklen": 3}
    else:
        figure = layout(cost.title, "Top-1 (%)")
        figure["xaxis"] |= {"rangemode": "tozero", "nticks": 6, "tickformat": cost.ticks}
    return {"data": traces, "layout": figure}


def _place(row: Row, cost: Cost) -> tuple[float, float]:
    return row[cost.key] / cost.scale, 100 * row["top1"]


def _points(run: str, variant: str, rows: Sequence[Row], cost: Cost, color: str) -> Figure:
    is_dense = variant == "dense"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(legend_name(run, variant)),
        "meta": legend_name(run, variant),
        "x": [_place(row, cost)[0] for row in rows],
        "y": [_place(row, cost)[1] for row in rows],
        "text": [_hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": "circle-open" if is_dense else "diamond",
            "size": 10,
            "opacity": 0.85,
            "color": color,
            "line": {"width": 2 if is_dense else 1, "color": color},
        },
    }


def _front(places: Sequence[tuple[float, float]]) -> Figure:
    """A staircase: from each of its points on, that accuracy can be had at that cost or more."""
    front = [places[i] for i in pareto_front(places)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "meta": "Pareto front",
        "x": [x for x, _ in front] + [max(x for x, _ in places)],
        "y": [y for _, y in front] + [front[-1][1]],
        "line": {"shape": "hv", "color": FRONT_COLOR, "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def legend_name(run: str, variant: str) -> str:
    """What the legend says, and by which its traces are found."""
    return " · ".join(part for part in (run, variant) if part) or "measured"


def latency_cost(rows: Sequence[Row]) -> Cost:
    """The latency axis; it names batch and threads when all latencies were taken alike, and says so when not."""
    settings = timing_settings([row for row in rows if number(row.get("top1")) is not None])
    if len(settings) != 1:
        return Cost("latency_median_ms", "Median latency (ms), mixed settings", comparable=False)
    _, batch, threads = next(iter(settings))
    parts = [f"batch {batch}"] if batch else []
    parts += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []
    return Cost("latency_median_ms", f"Median latency ({', '.join(['ms', *parts])})")


def _hover(row: Row) -> str:
    """The hover text of a point: what it is, then what was measured, each with its unit."""
    words = [str(row[key]) for key in ("run", "variant", "model") if row.get(key)]
    lines = [f"<b>{label(' · '.join(words))}</b>"]
    if row.get("seed") is not None:
        lines.append(f"seed {label(row['seed'])}")
    low, high = number(row.get("top1_low")), number(row.get("top1_high"))
    interval = f" (95 %: {cells.percent(low)} … {cells.percent(high)})" if low is not None and high is not None else ""
    lines.append(f"top-1 {cells.percent(row['top1'])} %{interval}")
    for key, show, unit in (
        ("sparsity", cells.percent, "% zeros"),
        ("size_bytes", cells.kilobytes, "KB"),
        ("macs_nonzero", cells.millions, "M nonzero MACs"),
        ("latency_median_ms", cells.significant, "ms median"),
        ("latency_ratio", cells.ratio, "× speedup against dense"),
    ):
        value = number(row.get(key))
        if value is not None:
            lines.append(f"{show(value)} {unit}")
    timing = [str(row["runtime"])] if row.get("runtime") else []
    timing += [f"{key} {row[key]}" for key in ("batch", "threads") if row.get(key) is not None]
    if timing and number(row.get("latency_median_ms")) is not None:
        lines.append(label(", ".join(timing)))
    return "<br>".join(lines)
