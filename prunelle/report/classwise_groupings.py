"""Ways of grouping the classes side by side: accuracy with its interval, and the gain against random groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report import cells
from prunelle.report.axes import Axis
from prunelle.report.cells import number_cell, points, text_cell
from prunelle.report.classwise_order import shortened
from prunelle.report.classwise_words import gain_words
from prunelle.report.fitted_tables import figure, grid, small
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.sorting import sortable
from prunelle.report.style import PALETTE
from prunelle.report.tables import Column, Table

WIDTH, LEFT, RIGHT, TOP, STEP, FOOT = 440, 104, 16, 8, 38, 44


@dataclass(frozen=True)
class Dot:
    """A value with its interval in hundredths, and the single trainings behind it."""

    name: str
    value: float
    low: float
    high: float
    told: str
    singles: Sequence[float] = ()


def accuracy_dots(groupings: Sequence[Row], trials: Sequence[Row]) -> list[Dot]:
    """Of the combined top-1, a grouping each."""
    found = []
    for row in groupings:
        own = [
            100 * one["top1"]
            for one in trials
            if one["grouping"] == row["grouping"] and number(one.get("top1")) is not None
        ]
        if dot := dot_of(row, ("mean", "low", "high"), " %", cells.percent, own):
            found.append(dot)
    return found


def gain_dots(groupings: Sequence[Row]) -> list[Dot]:
    """Of the gain against random, a grouping each but random itself."""
    found = (dot_of(row, ("gain", "gain_low", "gain_high"), " points", points) for row in groupings)
    return [dot for dot in found if dot]


def dot_of(row: Row, keys: tuple[str, str, str], unit: str, show, singles: Sequence[float] = ()) -> Dot | None:
    """keys: of the value and its interval's ends."""
    value, low, high = (number(row.get(key)) for key in keys)
    if value is None:
        return None
    if low is None or high is None:
        low = high = value
    over = f" ({show(low)} to {show(high)})" if low != high else ""
    seeds = "a single seed" if row["num_seeds"] == 1 else f"{row['num_seeds']} seeds"
    told = f"{row['grouping']}: {show(value)}{over}{unit}, {seeds}"
    return Dot(str(row["grouping"]), 100 * value, 100 * low, 100 * high, told, singles)


def dots_picture(dots: Sequence[Dot], title: str, zero: bool = False) -> str:
    """The SVG, a line a grouping. dots: not empty. zero: with a line at 0."""
    values = [value for one in dots for value in (one.low, one.high, one.value, *one.singles)] + [0.0] * zero
    pad = 0.08 * (max(values) - min(values)) or 0.5
    x = Axis(min(values) - pad, max(values) + pad)
    foot = TOP + STEP * len(dots)
    parts = [f'<path d="M{LEFT} {TOP}V{foot}H{WIDTH - RIGHT}" fill="none" stroke="#9aa5b1"/>']
    for value, label in x.ticks():
        at = place(x, value)
        parts.append(f'<path d="M{at:.1f} {TOP}V{foot + 4}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{at:.1f}" y="{foot + 18}" text-anchor="middle">{label}</text>')
    if zero:
        parts.append(
            f'<path class="zero" d="M{place(x, 0):.1f} {TOP}V{foot}" stroke="#1f2933" stroke-dasharray="5 3"/>'
        )
    parts += [drawn(one, x, TOP + STEP * (index + 0.5)) for index, one in enumerate(dots)]
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{foot + 36}" text-anchor="middle">{text(title)}</text>')
    label = f"{title}, by grouping; the figures stand in the table"
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {foot + FOOT}" role="img" aria-label="{text(label)}">'
        f"{''.join(parts)}</svg>"
    )


def place(x: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * x.at(value)


def drawn(dot: Dot, x: Axis, y: float) -> str:
    """Name, single trainings, interval, value."""
    color = PALETTE[6] if dot.name == "random" else PALETTE[0]
    low, at, high = (place(x, value) for value in (dot.low, dot.value, dot.high))
    tip = f"<title>{text(dot.told)}</title>"
    parts = [f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text(shortened(dot.name, 14))}</text>']
    if dot.high > dot.low:
        ways = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 6:.1f}v12M{high:.1f} {y - 6:.1f}v12"
        parts.append(f'<path d="{ways}" fill="none" stroke="{color}" stroke-width="1.8">{tip}</path>')
    for value in dot.singles:
        parts.append(
            f'<circle cx="{place(x, value):.1f}" cy="{y + 12:.1f}" r="2.6" fill="{color}" fill-opacity=".45"/>'
        )
    parts.append(f'<circle class="mean" cx="{at:.1f}" cy="{y:.1f}" r="5" fill="{color}" stroke="#fff">{tip}</circle>')
    return "".join(parts)


def gains_list(groupings: Sequence[Row]) -> str:
    """A sentence a heuristic: whether its interval excludes 0."""
    told = [one for one in map(gain_words, groupings) if one]
    return f'<ul class="said">{"".join(f"<li>{text(one)}</li>" for one in told)}</ul>' if told else ""


def groupings_table(groupings: Sequence[Row]) -> str:
    """Accuracy and size, a grouping each."""
    lines = []
    for row in groupings:
        low, high = number(row.get("low")), number(row.get("high"))
        over = (
            small(f"{cells.percent(low)} to {cells.percent(high)}")
            if low is not None and high is not None and high != low
            else ""
        )
        gain_low, gain_high = number(row.get("gain_low")), number(row.get("gain_high"))
        gain = figure(row.get("gain"), points) if number(row.get("gain")) is not None else ""
        if gain and row["num_seeds"] > 1 and gain_low is not None and gain_high is not None:
            gain += small(f"{points(gain_low)} to {points(gain_high)}")
        mean = figure(row.get("mean"), cells.percent) + over
        size = (figure(row.get("macs_total"), cells.millions), figure(row.get("params_total"), cells.count))
        lines.append(("", (text(row["grouping"]), f"{row['num_seeds']:,}", mean, gain, *size)))
    heads = (
        "grouping",
        "#seeds",
        "#top-1, %",
        "#against random, points",
        "#MACs of all members (M)",
        "#params of all members",
    )
    return grid(heads, lines)


def trials_table(trials: Sequence[Row]) -> str:
    """Every training of a class-wise network behind the figures, sortable."""
    columns = [
        Column("Grouping", "how the classes were put into groups", numeric=False),
        Column("Seed"),
        Column("Top-1 (%)", "of all members together"),
        Column("MACs (M)", "million multiply-adds of all members"),
        Column("Params", "parameters of all members"),
    ]
    lines = [
        [
            text_cell(row["grouping"]),
            number_cell(row.get("seed"), cells.count),
            number_cell(row.get("top1"), cells.percent),
            number_cell(row.get("macs"), cells.millions, "MACs"),
            number_cell(row.get("params"), cells.count),
        ]
        for row in trials
    ]
    return sortable(Table(columns, lines, [""] * len(lines)), "trials")
