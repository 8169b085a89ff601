"""An axis of a picture: from values to places, and where its ticks stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_FROM_RATIO = 20
"""Costs that differ by more than this are shown on a logarithmic axis."""
MOST_TICKS = 7
CLOSE = 4
"""Ends of a logarithmic axis that differ by less are close."""


@dataclass(frozen=True)
class Axis:
    """low < high: the values at its ends; above 0 where log. falling: the largest value stands first."""

    low: float
    high: float
    log: bool = False
    falling: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, 0 at low, 1 at high, the other way round where falling; values beyond an end stand at
        it.

        >>> Axis(0, 4).at(1), Axis(1, 100, log=True).at(10), Axis(0, 4).at(9), Axis(0, 4, falling=True).at(1)
        (0.25, 0.5, 1.0, 0.75)
        """
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return 1 - share if self.falling else share

    def ticks(self) -> list[tuple[float, str]]:
        """(value, label), round values only.

        >>> Axis(0, 1).ticks()[:3], Axis(0.5, 1e7, log=True).ticks()[:3]
        ([(0.0, '0.0'), (0.2, '0.2'), (0.4, '0.4')], [(1.0, '1'), (10.0, '10'), (100.0, '100')])
        """
        return log_ticks(self.low, self.high) if self.log else even_ticks(self.low, self.high)


def cost_axis(values: Sequence[float]) -> Axis:
    """An axis that holds all values (above 0): from 0, or logarithmic where they differ much."""
    least, most = min(values), max(values)
    if most / least > LOG_FROM_RATIO:
        return Axis(least / 1.4, most * 1.4, log=True)
    return Axis(0.0, most * 1.08)


def even_ticks(low: float, high: float) -> list[tuple[float, str]]:
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step = next(power * m for m in (1, 2, 5, 10, 20) if (high - low) / (power * m) <= MOST_TICKS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [round(number * step, 12) for number in range(first, last + 1)]
    return [(value, f"{value:,.{digits}f}".replace("-", "−")) for value in values]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten; 2 and 5 times them too where there is room; even steps where the ends are close."""
    if high / low < CLOSE:
        return even_ticks(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    finer = [(1, 2, 3, 5, 7)] if high / low < 10 else []
    for parts in (*finer, (1, 2, 5), (1, 3), (1,)):
        found = [part * 10.0**power for power in powers for part in parts]
        found = [value for value in found if low <= value <= high]
        if len(found) <= MOST_TICKS:
            break
    return [(value, f"{value:,.10f}".rstrip("0").rstrip(".")) for value in found]
