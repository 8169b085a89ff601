import math
from itertools import pairwise

import pytest

from prunelle import schedules
from prunelle.schedules import constant, cosine, cubic, exponential, linear, stairs

RISING, FALLING = (constant, linear, cubic), (cosine, stairs, exponential)


def test_every_schedule_is_in_this_file():
    public = {
        value for name, value in vars(schedules).items() if callable(value) and value.__module__ == schedules.__name__
    }
    assert public - {schedules.clamp} == {*RISING, *FALLING}


@pytest.mark.parametrize("schedule", [*RISING, *FALLING])
def test_ends_bounds_clamping_and_direction(schedule):
    values = [schedule(step / 200) for step in range(201)]
    start, end = (0.0, 1.0) if schedule in RISING else (1.0, {cosine: 0.0, stairs: 0.01, exponential: 0.01}[schedule])
    assert values[0] == (1.0 if schedule is constant else start)
    assert values[-1] == pytest.approx(end, abs=1e-15)
    assert all(0 <= value <= 1 for value in values)
    pairs = list(pairwise(values))
    assert all((a <= b) if schedule in RISING else (a >= b) for a, b in pairs)
    assert schedule(-3.0) == values[0] and schedule(7.0) == values[-1]


def test_numbers_by_hand():
    assert linear(0.3) == 0.3
    assert cubic(0.1) == pytest.approx(1 - 0.9**3, abs=1e-15)  # 0.271
    assert cosine(1 / 3) == pytest.approx(0.75, abs=1e-15)
    assert [stairs(p) for p in (0.49, 0.5, 0.74, 0.75)] == pytest.approx([1, 0.1, 0.1, 0.01], abs=1e-15)
    assert stairs(0.5, edges=(0.2, 0.4), factor=0.5) == 0.25


def test_cosine_is_half_a_cosine_everywhere():
    for step in range(101):
        assert cosine(step / 100) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2, abs=1e-15)
