"""How every chart looks: colours, axes, and names made safe for plotly, which reads tags in its texts."""

import colorsys
import html
from collections.abc import Sequence
from typing import Any

Figure = dict[str, Any]

# Readable on white. The first six are told apart by colour-blind readers (Okabe and Ito, 2008, darkened, no yellow).
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#a6498b",
    "#4f9fd0",
    "#b07d00",
    "#555555",
    "#6a3fd0",
    "#c2185b",
    "#5f8a1f",
    "#00838f",
    "#8d4a2b",
)
GRID = "#e6e9ed"
TEXT = "#3b4754"


def label(name: Any) -> str:
    """A user's name as text that plotly shows as it stands."""
    return html.escape(str(name), quote=False)


def colors_of(names: Sequence[str]) -> dict[str, str]:
    """A colour per name, in order of first appearance: the palette first, then hues a golden angle apart."""
    colors = {}
    for index, name in enumerate(dict.fromkeys(names)):
        if index < len(PALETTE):
            colors[name] = PALETTE[index]
        else:
            rgb = colorsys.hls_to_rgb(index * 0.381966 % 1, 0.42, 0.55)
            colors[name] = "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)
    return colors


def layout(x_title: str, y_title: str, **more: Any) -> Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": "#b8c0c9", "ticks": "outside", "tickcolor": "#b8c0c9"}
    return {
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": TEXT},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 14, "t": 10, "b": 48},
        "height": 320,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "font": {"color": TEXT}, "align": "left"},
        "showlegend": False,
        "xaxis": {**axis, "title": {"text": x_title}, "automargin": True},
        "yaxis": {**axis, "title": {"text": y_title, "standoff": 10}, "automargin": True},
        **more,
    }
