"""Training curves over epochs as plotly figures."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from prunelle.report.rows import Row, number
from prunelle.report.style import Figure, label, layout


def training_curves(
    curves: Sequence[Row], keys: Sequence[str], y_title: str, colors: dict[str, str], scale: float = 1
) -> Figure | None:
    """The series `keys` of every curve over epochs, times `scale`: the last key solid, those before it dotted.

    Values are kept to the 4 digits that a reader sees, so that hundreds of epochs stay small.

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
                    "y": [None if value is None else float(f"{scale * value:.4g}") for value in values],
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
    if "val_top1" not in keys:
        figure["yaxis"]["rangemode"] = "tozero"
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
