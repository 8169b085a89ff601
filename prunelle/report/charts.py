"""Which charts and legends a page has, as functions of its rows: plain {"data", "layout"} figures for plotly.js.

plotly itself is not needed to make them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report.bars import layer_bars
from prunelle.report.curves import curve_group, training_curves
from prunelle.report.groups import group_rows
from prunelle.report.rows import Row, number
from prunelle.report.scatter import FRONT_COLOR, Cost, accuracy_against, latency_cost, legend_name
from prunelle.report.style import Figure, colors_of

SEVERAL = 2


@dataclass(frozen=True)
class Chart:
    """key: id in the page. title: heading above it. alt: what it shows, for who cannot see it."""

    key: str
    title: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Entry:
    """A legend entry; shape is "dense", "pruned", "front" or "line"; meta finds its traces."""

    meta: str
    color: str
    shape: str


@dataclass(frozen=True)
class LayerChoice:
    """The charts of one run's layers."""

    run: str
    charts: Sequence[Chart]


def cost_charts(rows: Sequence[Row]) -> tuple[list[Chart], list[Entry]]:
    """Accuracy against size, nonzero MACs and latency, and against sparsity where several were tried, with the legend
    they share; empty where nothing was measured."""
    colors = colors_of([str(row.get("run") or "") for row in rows])
    wanted = [
        ("size", "Accuracy against size", Cost("size_bytes", "Size of what is shipped (KB)", scale=1e3)),
        ("macs", "Accuracy against nonzero MACs", Cost("macs_nonzero", "Nonzero MACs per input", ticks="~s")),
        ("latency", "Accuracy against latency", latency_cost(rows)),
    ]
    if num_sparsities(rows) >= SEVERAL:
        # More zeros are better, so the front of costs has no meaning here.
        cost = Cost("sparsity", "Sparsity (%)", scale=0.01, comparable=False)
        wanted.append(("sparsity", "Accuracy against sparsity", cost))
    charts = []
    for key, title, cost in wanted:
        figure = accuracy_against(cost, rows, colors)
        if figure:
            alt = f"Scatter chart: top-1 in % over {cost.title}, one point per measured model; figures in the table."
            charts.append(Chart(f"cost-{key}", title, alt, figure))
    if not charts:
        return [], []
    shown = {trace["meta"] for chart in charts for trace in chart.figure["data"]}
    entries = [
        Entry(
            legend_name(group.run, group.variant), colors[group.run], "dense" if group.variant == "dense" else "pruned"
        )
        for group in group_rows(rows)
    ]
    return charts, [e for e in [Entry("Pareto front", FRONT_COLOR, "front"), *entries] if e.meta in shown]


def num_sparsities(rows: Sequence[Row]) -> int:
    """How many sparsities above 0 were tried, equal to a tenth of a percent."""
    return len({round(s, 3) for row in rows if (s := number(row.get("sparsity")))})


def layer_choices(layers: Sequence[Row]) -> list[LayerChoice]:
    """Per run the bars of parameters and of MACs; of lines with the same run and layer the first counts."""
    first: dict[tuple[str, str], Row] = {}
    for row in layers:
        first.setdefault((str(row.get("run") or ""), str(row.get("layer"))), row)
    choices = []
    for number_of_run, run in enumerate(dict.fromkeys(run for run, _ in first)):
        own = [row for (name, _), row in first.items() if name == run]
        charts = []
        for key, title, x_title in (
            ("params", "Parameters per layer", "Parameters"),
            ("macs", "Multiply-adds per layer", "MACs per input"),
        ):
            figure = layer_bars(own, f"{key}_before", f"{key}_after", x_title)
            if figure:
                alt = f"Bar chart: {x_title} of each layer, before and after pruning (nonzero ones)."
                charts.append(Chart(f"layers-{number_of_run}-{key}", title, alt, figure))
        if charts:
            choices.append(LayerChoice(run, charts))
    return choices


def curve_charts(curves: Sequence[Row]) -> tuple[list[Chart], list[Entry]]:
    """Loss, validation accuracy, sparsity and learning rate over epochs, with the legend they share."""
    colors = colors_of([curve_group(curve) for curve in curves])
    wanted = (
        ("loss", "Loss: validation solid, training dotted", ("train_loss", "val_loss"), "Loss", 1),
        ("top1", "Validation accuracy", ("val_top1",), "Top-1 (%)", 100),
        ("sparsity", "Sparsity: the share of zeros", ("sparsity",), "Sparsity (%)", 100),
        ("lr", "Learning rate", ("lr",), "Learning rate", 1),
    )
    charts = []
    for key, title, keys, y_title, scale in wanted:
        figure = training_curves(curves, keys, y_title, colors, scale)
        if figure:
            charts.append(Chart(f"curve-{key}", title, f"Line chart: {y_title} over epochs.", figure))
    shown = {trace["meta"] for chart in charts for trace in chart.figure["data"]}
    return charts, [Entry(name, color, "line") for name, color in colors.items() if name in shown]
