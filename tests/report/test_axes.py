import pytest

from prunelle.report.axes import Axis, cost_axis


def test_places_by_hand():
    assert Axis(0, 4).at(1) == 0.25 and Axis(0, 4).at(-1) == 0.0 and Axis(0, 4).at(5) == 1.0
    assert Axis(1, 1000, log=True).at(10) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0, 1), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(98.03, 99.31), ["98.2", "98.4", "98.6", "98.8", "99.0", "99.2"]),
        (Axis(99.198, 99.203), ["99.198", "99.199", "99.200", "99.201", "99.202", "99.203"]),
        (Axis(0, 52_000), ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]),
        (Axis(-3, 3), ["−3", "−2", "−1", "0", "1", "2", "3"]),
        (Axis(26, 100, log=True), ["40", "60", "80", "100"]),
        (Axis(12, 100, log=True), ["20", "30", "50", "70", "100"]),
        (Axis(15, 900, log=True), ["20", "50", "100", "200", "500"]),
        (Axis(0.008, 9, log=True), ["0.01", "0.03", "0.1", "0.3", "1", "3"]),
        (Axis(1, 1e7, log=True), ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000", "10,000,000"]),
    ],
)
def test_ticks_are_round(axis, labels):
    assert [label for _, label in axis.ticks()] == labels
    assert all(0.0 <= axis.at(value) <= 1.0 for value, _ in axis.ticks())


def test_costs_over_twenty_times_apart_are_logarithmic():
    assert cost_axis([1, 20]) == Axis(0.0, 20 * 1.08)
    assert cost_axis([1, 21]).log and cost_axis([1, 21]).low < 1 and cost_axis([1, 21]).high > 21
    assert cost_axis([5]) == Axis(0.0, 5 * 1.08)
