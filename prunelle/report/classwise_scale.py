"""From values to colours: blue and orange, told apart by colour-blind readers, and the legend of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prunelle.report.plain import text

WHITE, BLUE, ORANGE = "#ffffff", "#08519c", "#a63603"
"""The ends are those of ColorBrewer's Blues and Oranges."""
OWN = "#d3d9df"
"""Of what the scale does not hold: a class with itself."""
STEPS = 24
WHITE_FROM = 0.7
"""Of both colours: from here on white has more contrast than black."""


@dataclass(frozen=True)
class Scale:
    """low < high. Where low is below 0 it is -high: orange below 0, white at 0, blue above; else white to blue."""

    low: float
    high: float

    def color(self, value: float) -> str:
        """
        >>> Scale(-1, 1).color(0), Scale(-1, 1).color(-1), Scale(0, 2).color(2), Scale(0, 2).color(1)
        ('#ffffff', '#a63603', '#08519c', '#84a8ce')
        """
        return mixed(self.share(value), ORANGE if self.low < 0 and value < 0 else BLUE)

    def dark(self, value: float) -> bool:
        """Whether white words are read better on its colour than black ones."""
        return self.share(value) > WHITE_FROM

    def share(self, value: float) -> float:
        least = 0.0 if self.low < 0 else self.low
        return min(1.0, max(0.0, (abs(value) if self.low < 0 else value) - least) / (self.high - least))


def mixed(share: float, end: str) -> str:
    """White at 0, the end at 1."""
    pairs = [(int(WHITE[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def scale_of(values: Iterable[float]) -> Scale:
    """Round 0 where some are negative; else from 0, or from the least where all lie close together.

    >>> scale_of([-0.2, 0.5]), scale_of([0.1, 0.5]), scale_of([0.75, 1.0]), scale_of([])
    (Scale(low=-0.5, high=0.5), Scale(low=0.0, high=0.5), Scale(low=0.75, high=1.0), Scale(low=0.0, high=1.0))
    """
    known = list(values) or [0.0]
    least, most = min(known), max(known)
    if least < 0:
        return Scale(-max(-least, most), max(-least, most))
    if most <= 0:
        return Scale(0.0, 1.0)
    return Scale(least if most / 2 < least < most else 0.0, most)


def legend(scale: Scale, shown: Callable[[float], str], own: str) -> str:
    """The colours from low to high with their values. own: what the grey cells are, '' where there are none."""
    wide = 6
    values = [scale.low + (scale.high - scale.low) * (place + 0.5) / STEPS for place in range(STEPS)]
    bars = "".join(
        f'<rect x="{wide * place}" width="{wide}" height="14" fill="{scale.color(value)}"/>'
        for place, value in enumerate(values)
    )
    edge = f'<rect x=".5" y=".5" width="{wide * STEPS - 1}" height="13" fill="none" stroke="#9aa5b1"/>'
    bar = f'<svg width="{wide * STEPS}" height="14" aria-hidden="true">{bars}{edge}</svg>'
    zero = " (white: 0)" if scale.low < 0 else ""
    grey = f'<svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" fill="{OWN}"/></svg>'
    last = f"<li>{grey}{text(own)}</li>" if own else ""
    return f'<ul class="key"><li>{shown(scale.low)}{bar}{shown(scale.high)}{zero}</li>{last}</ul>'
