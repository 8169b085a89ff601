"""Lines with bands and marks in a picture, as SVG, and the colours of an ordered set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report.axes import Axis
from prunelle.report.frame import BOTTOM, HEIGHT, across, upward
from prunelle.report.groups import Spread
from prunelle.report.plain import text

RAMP = ("#3a1c8c", "#0b6fb8", "#00876c", "#7d8500", "#d0631f", "#9c1642")
"""From early to late; each readable on white."""
SIZE = 4.2


@dataclass(frozen=True)
class Spot:
    """A value with its range; low = high where there is none. told: what is said of it, below the pointer."""

    x: float
    value: float
    low: float
    high: float
    told: str = ""


def spot(share: float, value: Spread, told: str) -> Spot:
    """A spread of fractions at a share, both in hundredths.

    >>> spot(0.5, Spread(0.25, 0.125, 0.75, 3), "")
    Spot(x=50.0, value=25.0, low=12.5, high=75.0, told='')
    """
    return Spot(100 * share, 100 * value.median, 100 * value.low, 100 * value.high, told)


@dataclass(frozen=True)
class Line:
    """spots: by x, on the axes' scale. shape: which of the marks. dash: SVG's stroke-dasharray, '' = solid.
    faint: one of many, with small marks and a pale band."""

    spots: Sequence[Spot]
    color: str
    shape: int = 0
    dash: str = ""
    faint: bool = False


def ramp(number: int) -> list[str]:
    """So many colours from early to late.

    >>> ramp(2) == [RAMP[0], RAMP[-1]], ramp(3)[1], len(ramp(20))
    (True, '#3e8636', 20)
    """
    if number == 1:
        return [RAMP[1]]
    return [mixed(index / (number - 1) * (len(RAMP) - 1)) for index in range(number)]


def mixed(place: float) -> str:
    """The colour at a place between two of the ramp."""
    first = min(int(place), len(RAMP) - 2)
    pairs = [(int(RAMP[first][i : i + 2], 16), int(RAMP[first + 1][i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * (place - first)):02x}" for a, b in pairs)


def drawn(line: Line, x: Axis, y: Axis) -> str:
    """The band where there is one, the line, the marks; a mark below the axis stands as a triangle at its foot."""
    places = [(across(x, s.x), upward(y, s.value), upward(y, s.low), upward(y, s.high)) for s in line.spots]
    parts = []
    if any(spot.low < spot.high for spot in line.spots):
        edge = [(px, high) for px, _, _, high in places] + [(px, low) for px, _, low, _ in reversed(places)]
        parts.append(f'<path d="{joined(edge)}Z" fill="{line.color}" fill-opacity="{0.06 if line.faint else 0.13}"/>')
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    way = joined([(px, py) for px, py, _, _ in places])
    parts.append(f'<path d="{way}" fill="none" stroke="{line.color}" stroke-width="1.8"{dash}/>')
    for spot, (px, py, _, _) in zip(line.spots, places, strict=True):
        shape = foot(px) if spot.value < y.low else mark(line.shape, px, py, 3.2 if line.faint else SIZE)
        told = f"<title>{text(spot.told)}</title>" if spot.told else ""
        parts.append(f'<path d="{shape}" fill="{line.color}" stroke="#fff">{told}</path>')
    return "".join(parts)


def joined(places: Sequence[tuple[float, float]]) -> str:
    """An SVG path.

    >>> joined([(1, 2), (3, 4)])
    'M1.0 2.0L3.0 4.0'
    """
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in places)


def mark(shape: int, x: float, y: float, s: float = SIZE) -> str:
    """A closed path round a place: circle, square, diamond, triangle or that upside down, over and over.

    s: half its width.
    """
    forms = (
        f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0z",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}z",
        f"M{x:.1f} {y - 1.3 * s:.1f}l{1.3 * s:.2f} {1.3 * s:.2f}l{-1.3 * s:.2f} {1.3 * s:.2f}"
        f"l{-1.3 * s:.2f} {-1.3 * s:.2f}z",
        f"M{x:.1f} {y - 1.2 * s:.1f}l{1.2 * s:.2f} {2.1 * s:.2f}h{-2.4 * s:.2f}z",
        f"M{x:.1f} {y + 1.2 * s:.1f}l{1.2 * s:.2f} {-2.1 * s:.2f}h{-2.4 * s:.2f}z",
    )
    return forms[shape % len(forms)]


def foot(x: float) -> str:
    """A triangle that points below the picture."""
    return f"M{x - 5:.1f} {HEIGHT - BOTTOM - 9}h10l-5 8z"


def swatch(line: Line) -> str:
    """Of a legend."""
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    way = f'<path d="M1 7H29" stroke="{line.color}" stroke-width="1.8"{dash}/>'
    shape = f'<path d="{mark(line.shape, 15, 7)}" fill="{line.color}"/>'
    return f'<svg width="30" height="14" aria-hidden="true">{way}{shape}</svg>'
