"""How far a mean over a few seeds can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

QUANTILES = """
12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120
2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042"""
T95 = tuple(map(float, QUANTILES.split()))
"""Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom; above, the last is at most 4 % too wide."""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(low, mean, high): the mean and its 95 % interval by Student's t; all equal for a single value.

    >>> [round(x, 3) for x in interval([1.0, 2.0, 3.0])]
    [-0.484, 2.0, 4.484]
    """
    middle = mean(values)
    if len(values) < 2:
        return middle, middle, middle
    half = T95[min(len(values) - 1, len(T95)) - 1] * stdev(values) / math.sqrt(len(values))
    return middle - half, middle, middle + half
