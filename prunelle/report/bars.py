"""Bars per layer, before and after, as a plotly figure."""

from collections.abc import Sequence

from prunelle.report.rows import Row, number
from prunelle.report.style import Figure, label, layout

BEFORE_COLOR = "#cfd6de"
AFTER_COLOR = "#0072b2"
LONGEST_TICK = 22


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
    common = {"type": "bar", "orientation": "h", "y": places}
    values_before, values_after = ([row[key] for row in known] for key in (before, after))
    data = [
        {**common, "name": "before", "x": values_before, "marker": {"color": BEFORE_COLOR}, "text": left}
        | {"textposition": "outside", "cliponaxis": False, "textfont": {"size": 11}}
        | {"hovertext": hover, "hoverinfo": "text"},
        {**common, "name": "after", "x": values_after, "marker": {"color": AFTER_COLOR}, "width": 0.5}
        | {"hoverinfo": "skip"},
    ]
    ticks = [label(name if len(name) <= LONGEST_TICK else "…" + name[1 - LONGEST_TICK :]) for name in names]
    figure = layout(x_title, "", barmode="overlay", bargap=0.25, height=90 + 20 * max(len(known), 4))
    figure["xaxis"] |= {"tickformat": "~s", "range": [0, 1.25 * max(values_before)], "nticks": 5, "tickangle": 0}
    figure["yaxis"] |= {"tickvals": places, "ticktext": ticks, "range": [len(known) - 0.4, -0.6], "ticks": ""}
    return {"data": data, "layout": figure}
