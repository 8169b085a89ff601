"""Plotly figures as functions of rows: plain {"data", "layout"} mappings, which is what plotly.js draws.

They need no plotly to be made. Every name that a user chose goes through `label`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from prunelle.report import cells
from prunelle.report.groups import timing_settings
from prunelle.report.pareto import pareto_front
from prunelle.report.rows import Row, number
from prunelle.report.style import Figure, label, layout

FRONT_COLOR = "#1f2933"
BEFORE_COLOR = "#cfd6de"
AFTER_COLOR = "#0072b2"
LOG_FROM_RATIO = 20
LONGEST_TICK = 22


def accuracy_against(
    rows: Sequence[Row], cost: str, scale: float, x_title: str, colors: dict[str, str], compare: bool = True
) -> Figure | None:
    """Top-1 in % over a cost, a point per measured model, and the Pareto front through those none other beats.

    cost: a key of the rows; scale: what its values are divided by to be in x_title's unit.
    compare: False leaves the front out, for costs that were not measured alike.
    Dense models are open circles, pruned ones filled diamonds; the colour tells the run. None without points.
    """
    known = [row for row in rows if number(row.get(cost)) is not None and number(row.get("top1")) is not None]
    if not known:
        return None
    places = [(row[cost] / scale, 100 * row["top1"]) for row in known]
    traces = []
    if compare:
        front = [places[i] for i in pareto_front(places)]
        traces.append(_front(front, max(x for x, _ in places)))
    keys = dict.fromkeys((str(row.get("run") or ""), str(row.get("variant") or "")) for row in known)
    for run, variant in keys:
        own = [
            i
            for i, row in enumerate(known)
            if (str(row.get("run") or ""), str(row.get("variant") or "")) == (run, variant)
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(legend_name(run, variant)),
                "meta": legend_name(run, variant),
                "x": [places[i][0] for i in own],
                "y": [places[i][1] for i in own],
                "text": [_hover(known[i]) for i in own],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {
                    "symbol": "circle-open" if variant == "dense" else "diamond",
                    "size": 10,
                    "opacity": 0.85,
                    "color": colors[run],
                    "line": {"width": 2 if variant == "dense" else 1, "color": colors[run]},
                },
            }
        )
    costs = [x for x, _ in places]
    if min(costs) > 0 and max(costs) / min(costs) > LOG_FROM_RATIO:
        figure = layout(f"{x_title}, log scale", "Top-1 (%)")
        figure["xaxis"].update(type="log", dtick="D2", tickformat="~g")
    else:
        figure = layout(x_title, "Top-1 (%)")
        figure["xaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": figure}


def _front(front: Sequence[tuple[float, float]], right: float) -> Figure:
    """A staircase: from each point on, its accuracy can be had at that cost or more."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "meta": "Pareto front",
        "x": [x for x, _ in front] + [right],
        "y": [y for _, y in front] + [front[-1][1]],
        "line": {"shape": "hv", "color": FRONT_COLOR, "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def legend_name(run: str, variant: str) -> str:
    return " · ".join(part for part in (run, variant) if part) or "measured"


def latency_title(rows: Sequence[Row]) -> tuple[str, bool]:
    """Axis title of a latency chart, and whether all latencies were taken alike."""
    settings = timing_settings([row for row in rows if number(row.get("top1")) is not None])
    if len(settings) != 1:
        return "Median latency (ms), settings differ: see hover text", False
    _, batch, threads = next(iter(settings))
    parts = ([f"batch {batch}"] if batch else []) + ([f"{threads} threads"] if threads else [])
    return f"Median latency (ms{', ' if parts else ''}{', '.join(parts)})", True


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
        ("latency_median_ms", cells.milliseconds, "ms median"),
        ("latency_ratio", cells.ratio, "× speed-up against dense"),
    ):
        value = number(row.get(key))
        if value is not None:
            lines.append(f"{show(value)} {unit}")
    timing = [str(row["runtime"])] if row.get("runtime") else []
    timing += [f"{key} {row[key]}" for key in ("batch", "threads") if row.get(key) is not None]
    if timing and number(row.get("latency_median_ms")) is not None:
        lines.append(label(", ".join(timing)))
    return "<br>".join(lines)


def layer_bars(layers: Sequence[Row], before: str, after: str, x_title: str) -> Figure | None:
    """A bar per layer in network order, from the top down: what was there, and inside it what is left.

    before, after: keys of the layers. The label at a bar's end is the share left. None without layers to show.
    """
    known = [row for row in layers if number(row.get(before)) is not None and number(row.get(after)) is not None]
    if not any(row[before] for row in known):
        return None
    places = list(range(len(known)))
    names = [str(row.get("layer")) for row in known]
    left = [f"{100 * row[after] / row[before]:.1f} %" if row[before] else "" for row in known]
    hover = [
        f"<b>{label(name)}</b><br>before {row[before]:,}<br>after {row[after]:,} ({share} left)"
        for name, row, share in zip(names, known, left, strict=True)
    ]
    common = {"type": "bar", "orientation": "h", "y": places, "hovertext": hover, "hoverinfo": "text"}
    values_before, values_after = ([row[key] for row in known] for key in (before, after))
    data = [
        {**common, "name": "before", "x": values_before, "marker": {"color": BEFORE_COLOR}, "text": left}
        | {"textposition": "outside", "cliponaxis": False, "textfont": {"size": 11}},
        {**common, "name": "after", "x": values_after, "marker": {"color": AFTER_COLOR}, "width": 0.5},
    ]
    ticks = [label(name if len(name) <= LONGEST_TICK else "…" + name[1 - LONGEST_TICK :]) for name in names]
    figure = layout(x_title, "", barmode="overlay", bargap=0.25, height=90 + 20 * max(len(known), 4))
    figure["xaxis"] |= {"tickformat": "~s", "range": [0, 1.17 * max(values_before)], "nticks": 6}
    figure["yaxis"] |= {"tickvals": places, "ticktext": ticks, "range": [len(known) - 0.4, -0.6], "ticks": ""}
    return {"data": data, "layout": figure}


def training_curves(
    curves: Sequence[Row], keys: Sequence[str], y_title: str, colors: dict[str, str], scale: float = 1
) -> Figure | None:
    """The series `keys` of every curve over epochs, times `scale`: the last key solid, those before it dotted.

    colors: a colour per curve_group. None when no curve has any of the keys.
    """
    traces = []
    for curve in curves:
        points = curve.get("points") or []
        for key in keys:
            values = [number(point.get(key)) for point in points]
            if all(value is None for value in values):
                continue
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines" if len(points) > 1 else "markers",
                    "name": label(curve.get("name") or curve_group(curve)),
                    "meta": curve_group(curve),
                    **_epochs(points),
                    "y": [None if value is None else scale * value for value in values],
                    "connectgaps": True,
                    "line": {
                        "width": 1.5,
                        "color": colors[curve_group(curve)],
                        "dash": "solid" if key == keys[-1] else "dot",
                    },
                    "hovertemplate": f"%{{fullData.name}}<br>epoch %{{x}}: %{{y:.4~g}} {key}<extra></extra>",
                }
            )
    figure = layout("Epoch", y_title, height=280)
    figure["xaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": figure} if traces else None


def curve_group(curve: Row) -> str:
    """What a curve shares its colour and legend entry with: its run, or itself."""
    return str(curve.get("run") or curve.get("name") or "training")


def _epochs(points: Sequence[Row]) -> dict[str, Any]:
    """The x axis of a curve: as start and step where epochs are evenly spaced, which keeps the page small."""
    epochs = [number(point.get("epoch")) for point in points]
    known = [epoch for epoch in epochs if epoch is not None]
    if len(known) < len(epochs):
        return {"x0": 1, "dx": 1}
    steps = {after - before for before, after in pairwise(known)}
    if len(steps) == 1:
        return {"x0": known[0], "dx": steps.pop()}
    return {"x": known}
