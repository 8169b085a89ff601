"""Classes against classes as a map of colours, in the order of their groups, with lines between these, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prunelle.report.classwise_order import Order, shortened
from prunelle.report.classwise_scale import OWN, Scale
from prunelle.report.plain import text

MOST_WITH_WORDS = 12
"""So many classes leave room for the values in the cells."""
MOST_CLASSES = 150
"""A map of more has cells that nobody can point at, and makes a page of many megabytes."""
LONGEST = 18
INK = "#1f2933"


@dataclass(frozen=True)
class Heat:
    """values: row x column, by class number; None is drawn blank. shown: in a cell. told: (row, column) -> what is said
    of the cell below the pointer. down, along: what rows and columns are. label: what the picture is, for who hears it.
    """

    order: Order
    values: Sequence[Sequence[float | None]]
    scale: Scale
    shown: Callable[[float], str]
    told: Callable[[int, int], str]
    down: str
    along: str
    label: str


@dataclass(frozen=True)
class Sizes:
    """In the picture's units: a cell's edge, the height of letters, where the cells begin."""

    cell: float
    letter: float
    left: float
    top: float
    slanted: bool

    def width(self, number: int) -> float:
        return self.left + self.cell * number + (0.72 * (self.left - 26) if self.slanted else 44)


def sizes(names: Sequence[str]) -> Sizes:
    """Of a map of so many classes."""
    cell = min(46.0, max(10.0, 640 / max(1, len(names))))
    letter = min(12.0, 0.95 * cell)
    longest = 0.6 * letter * max([len(shortened(name, LONGEST)) for name in names], default=1) + 8
    slanted = len(names) <= MOST_WITH_WORDS
    return Sizes(cell, letter, longest + 26, (0.72 * longest if slanted else longest) + 26, slanted)


def heat(found: Heat) -> str:
    """The SVG in a box that scrolls where the screen is narrow."""
    order, size = found.order, sizes(found.order.names)
    number = len(order.classes)
    wide, high = size.width(number), size.top + size.cell * number + 8
    rows = "".join(
        f'<g transform="translate(0 {place})">{cells(found, one)}</g>' for place, one in enumerate(order.classes)
    )
    inner = f'<g transform="translate({size.left:.1f} {size.top:.1f}) scale({size.cell:.4g})">{rows}</g>'
    parts = [inner, lines(order, size), labels(order, size), titles(found, size)]
    if number <= MOST_WITH_WORDS:
        parts.append(words(found, size))
    look = f"--letter:{size.letter:.1f}px;min-width:{min(wide, max(420, 8.2 * number)):.0f}px;max-width:{wide:.0f}px"
    return (
        f'<div class="heatbox" tabindex="0" role="region" aria-label="{text(found.label)}"><svg class="picture heat" '
        f'style="{look}" viewBox="0 0 {wide:.0f} {high:.0f}" role="img" aria-label="{text(found.label)}">'
        f"{''.join(parts)}</svg></div>"
    )


def cells(found: Heat, row: int) -> str:
    """Of one class, each one unit wide."""
    parts = []
    for place, column in enumerate(found.order.classes):
        value = found.values[row][column]
        if value is None:
            continue
        color = OWN if row == column else found.scale.color(value)
        told = text(found.told(row, column))
        parts.append(f'<rect x="{place}" width="1" height="1" fill="{color}"><title>{told}</title></rect>')
    return "".join(parts)


def words(found: Heat, size: Sizes) -> str:
    """The values in the cells; the pointer reaches through them."""
    parts = []
    for down, row in enumerate(found.order.classes):
        for along, column in enumerate(found.order.classes):
            value = found.values[row][column]
            if value is None:
                continue
            x = size.left + size.cell * (along + 0.5)
            y = size.top + size.cell * (down + 0.5) + 0.35 * size.letter
            light = ' class="light"' if row != column and found.scale.dark(value) else ""
            parts.append(f'<text{light} x="{x:.1f}" y="{y:.1f}">{text(found.shown(value))}</text>')
    return f'<g class="values">{"".join(parts)}</g>'


def lines(order: Order, size: Sizes) -> str:
    """Between groups, and round all of them."""
    full = size.cell * len(order.classes)
    inner = [size.cell * end for end in order.ends if end < len(order.classes)]
    ways = "".join(
        f"M{size.left + at:.1f} {size.top:.1f}v{full:.1f}M{size.left:.1f} {size.top + at:.1f}h{full:.1f}"
        for at in inner
    )
    around = f"M{size.left:.1f} {size.top:.1f}h{full:.1f}v{full:.1f}h{-full:.1f}z"
    width = min(1.8, size.cell / 8)
    between = f'<path class="between" d="{ways}" stroke="{INK}" stroke-width="{width:.2f}"/>' if ways else ""
    return f'{between}<path d="{around}" fill="none" stroke="#9aa5b1"/>'


def labels(order: Order, size: Sizes) -> str:
    """The classes' names on both axes."""
    parts = []
    turn = -45 if size.slanted else -90
    for place, one in enumerate(order.classes):
        name = text(shortened(order.names[one], LONGEST))
        tip = f"<title>{text(order.names[one])}</title>" if len(str(order.names[one])) > LONGEST else ""
        middle = size.cell * (place + 0.5)
        y = size.top + middle + 0.35 * size.letter
        parts.append(f'<text x="{size.left - 5:.1f}" y="{y:.1f}" text-anchor="end">{name}{tip}</text>')
        x = size.left + middle + (0 if size.slanted else 0.35 * size.letter)
        parts.append(f'<text transform="translate({x:.1f} {size.top - 5:.1f}) rotate({turn})">{name}{tip}</text>')
    return "".join(parts)


def titles(found: Heat, size: Sizes) -> str:
    """What rows and columns are, and at the right the members' numbers."""
    order, full = found.order, size.cell * len(found.order.classes)
    at = f'transform="translate(13 {size.top + full / 2:.1f}) rotate(-90)"'
    over = f'x="{size.left + full / 2:.1f}" y="13"'
    parts = [
        f'<text class="title" {where} text-anchor="middle">{text(words)}</text>'
        for where, words in ((at, found.down), (over, found.along))
        if words
    ]
    x, begin = size.left + full + 6, 0
    for end, name in zip(order.ends, order.members, strict=True):
        y = size.top + size.cell * (begin + end) / 2 + 0.35 * size.letter
        told = f"<title>member {text(name)}</title>"
        parts.append(f'<text class="member" x="{x:.1f}" y="{y:.1f}">{text(shortened(name, 5))}{told}</text>')
        begin = end
    return "".join(parts)
