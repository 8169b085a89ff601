import pytest

from prunelle.errors import SettingError
from prunelle.prune.ramp import Ramp
from prunelle.schedules import constant, linear


@pytest.mark.parametrize(
    ("initial", "final", "begin", "frequency", "times"),
    [(0.0, 0.9, 0, 100, 20), (0.2, 0.875, 37, 7, 11), (0.0, 0.5, 1000, 1, 3), (0.3, 0.3, 5, 5, 4), (0.0, 0.0, 0, 1, 1)],
)
def test_zhu_and_gupta_equation_1_at_every_step(initial, final, begin, frequency, times):
    end = begin + times * frequency
    ramp = Ramp(final, begin, end, frequency, initial)
    for step in range(begin, end + 1):
        # s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3
        wanted = final + (initial - final) * (1 - (step - begin) / (times * frequency)) ** 3
        assert abs(ramp.at(step) - wanted) <= 1e-12
    assert ramp.at(begin) == pytest.approx(initial, abs=1e-12) and ramp.at(end) == final
    assert [step for step in range(end + 50) if ramp.due(step)] == [begin + n * frequency for n in range(times + 1)]


def test_the_end_is_always_due():
    ramp = Ramp(0.5, 3, 12, frequency=4)
    assert [step for step in range(20) if ramp.due(step)] == [3, 7, 11, 12]


def test_other_shapes_by_hand():
    assert Ramp(0.8, 10, 20, shape=linear).at(15) == pytest.approx(0.4)
    assert Ramp(0.8, 10, 20, initial=0.2, shape=linear).at(15) == pytest.approx(0.5)
    assert [Ramp(0.8, 10, 20, shape=constant).at(step) for step in (10, 15, 20)] == [0.8] * 3


def test_a_ramp_of_no_length_is_a_jump():
    ramp = Ramp(0.8, 10, 10)
    assert ramp.at(10) == 0.8 and [step for step in range(20) if ramp.due(step)] == [10]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"final": 1.0}, "ramp: sparsity goes from 0.0 to 1.0, must be 0 <= initial <= final < 1"),
        ({"final": 0.5, "initial": 0.6}, "ramp: sparsity goes from 0.6 to 0.5"),
        ({"final": 0.5, "begin": -1}, "ramp: begin -1, end 10, frequency 100; must be 0 <= begin <= end"),
        ({"final": 0.5, "begin": 11}, "ramp: begin 11, end 10"),
        ({"final": 0.5, "frequency": 0}, "frequency 0; must be"),
    ],
)
def test_what_is_no_ramp_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        Ramp(**({"begin": 0, "end": 10} | settings))
