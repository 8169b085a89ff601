"""The interval of a ratio of times whose noise comes in bursts: a block bootstrap over rounds."""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
NOMINAL = 0.98  # noise in bursts costs up to 3 points of coverage; at 0.98 synthetic bursts leave 95 or more of 100


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it that holds the truth in at least 95 of 100 repetitions."""

    estimate: float
    low: float
    high: float


def ratio_interval(baseline: NDArray, candidate: NDArray, rng: numpy.random.Generator) -> Interval:
    """How many times faster the candidate is, as the median over rounds of log(baseline / candidate).

    baseline, candidate: (rounds, calls) times > 0, one row per round, both sides of a row taken within a moment.
    Returns the ratio and its percentile interval; above 1 = the candidate is faster.

    Within a round the median drops calls that were preempted; the difference of logarithms cancels what slowed both
    sides; the median over rounds drops rounds in which a burst hit one side only. Rounds that follow each other are
    alike, so blocks of them are drawn (circular block bootstrap, Politis & Romano 1992); length rounds^(1/4), because
    the pairing has already removed most of the likeness and longer blocks lose coverage below 50 rounds.

    >>> found = ratio_interval(numpy.full((9, 2), 3.0), numpy.full((9, 2), 2.0), numpy.random.default_rng(0))
    >>> round(found.estimate, 6)
    1.5
    """
    logs = numpy.log(numpy.median(baseline, axis=1)) - numpy.log(numpy.median(candidate, axis=1))
    medians = numpy.median(logs[block_draws(len(logs), NUM_RESAMPLES, rng)], axis=1)
    low, high = numpy.quantile(medians, [(1 - NOMINAL) / 2, (1 + NOMINAL) / 2])
    return Interval(*(float(numpy.exp(value)) for value in (numpy.median(logs), low, high)))


def block_draws(num_rounds: int, num_resamples: int, rng: numpy.random.Generator) -> NDArray[numpy.intp]:
    """Row numbers of each resample: (num_resamples, num_rounds), made of consecutive runs that wrap around.

    >>> block_draws(8, 1, numpy.random.default_rng(0)).shape
    (1, 8)
    """
    length = int(num_rounds**0.25)
    starts = rng.integers(num_rounds, size=(num_resamples, -(-num_rounds // length)))
    rows = (starts[:, :, None] + numpy.arange(length)) % num_rounds
    return rows.reshape(num_resamples, -1)[:, :num_rounds]
