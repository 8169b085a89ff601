import numpy
import pytest

from prunelle.measure.bootstrap import NOMINAL, NUM_RESAMPLES, block_draws, ratio_interval

TRUTH = 1.2


def bursty(
    rng: numpy.random.Generator, num_rounds: int, num_calls: int, factor: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Times of two functions called A B B A or B A A B: lognormal, drifting by 30 %, `factor` slower in bursts."""
    num_times = num_rounds * 4 * num_calls
    switches = rng.random(num_times) < 0.01
    slow = numpy.cumsum(switches) % 2 == 1
    times = numpy.exp(rng.normal(0, 0.1, num_times) + numpy.linspace(0, 0.3, num_times) + slow * numpy.log(factor))
    turns = times.reshape(num_rounds, 4, num_calls)
    outside, inside = turns[:, [0, 3]].reshape(num_rounds, -1), turns[:, [1, 2]].reshape(num_rounds, -1)
    first = rng.random((num_rounds, 1)) < 0.5
    return numpy.where(first, outside, inside), numpy.where(first, inside, outside) / TRUTH


@pytest.mark.parametrize(("num_rounds", "num_calls"), [(30, 1), (125, 4), (500, 1)])
def test_the_interval_holds_the_truth_in_95_of_100_despite_bursts_and_drift(num_rounds, num_calls):
    rng = numpy.random.default_rng(0)
    found = [ratio_interval(*bursty(rng, num_rounds, num_calls, factor=3), rng) for _ in range(200)]
    assert sum(interval.low <= TRUTH <= interval.high for interval in found) >= 190


def test_a_call_that_was_preempted_changes_nothing():
    rng = numpy.random.default_rng(0)
    baseline, candidate = numpy.full((50, 8), 3.0), numpy.full((50, 8), 2.0)
    baseline[::5, 3] = 900.0
    interval = ratio_interval(baseline, candidate, rng)
    assert interval.low == interval.high == pytest.approx(1.5)


def test_agrees_with_resampling_one_round_at_a_time():
    rng = numpy.random.default_rng(3)
    baseline, candidate = bursty(rng, 40, 2, factor=2)
    logs = [numpy.log(numpy.median(a) / numpy.median(b)) for a, b in zip(baseline, candidate, strict=True)]
    medians = []
    for rows in block_draws(40, NUM_RESAMPLES, numpy.random.default_rng(7)):
        medians.append(numpy.median([logs[row] for row in rows]))
    low, high = numpy.exp(numpy.quantile(medians, [(1 - NOMINAL) / 2, (1 + NOMINAL) / 2]))
    found = ratio_interval(baseline, candidate, numpy.random.default_rng(7))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.estimate == pytest.approx(numpy.exp(numpy.median(logs)), rel=1e-12)


def test_blocks_are_runs_that_wrap_around():
    rows = block_draws(81, 5, numpy.random.default_rng(0))
    assert rows.shape == (5, 81)
    blocks = rows.reshape(5, 27, 3)
    assert (numpy.diff(blocks, axis=2) % 81 == 1).all()
    assert rows.min() == 0 and rows.max() == 80
