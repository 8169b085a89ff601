"""Speed-up and efficiency: predicted and measured stand where their figures are."""

import re
from xml.etree import ElementTree

import pytest

from prunelle.report import tickets_plan as plan
from prunelle.report.axes import Axis
from prunelle.report.frame import across, upward
from prunelle.report.lines import mark

from .ticket_rows import PLAN


def test_words_worked_out_by_hand():
    first, second = plan.plan_words(PLAN)
    # 60 / 64 = 0.9375; 105 / (5 + 16) = 5.
    assert first == "With 2 workers it took 64 seconds; 60 seconds were predicted, 6.2 % less than that."
    assert second == (
        "No number of workers makes it shorter than 21 seconds: start and trial 5 seconds and dense network 16 "
        "seconds. So the speed-up ends at 5.00."
    )


def test_what_took_as_long_as_predicted_and_what_was_not_measured():
    assert plan.plan_words(PLAN | {"measured_seconds": 60.0})[0].endswith("60 seconds were predicted, as much as that.")
    assert plan.plan_words(PLAN | {"measured_seconds": 50.0})[0].endswith(
        "60 seconds were predicted, 20.0 % more than that."
    )
    assert len(plan.plan_words(PLAN | {"measured_seconds": None})) == 1
    assert plan.plan_words(PLAN | {"measured_seconds": None, "limits": []}) == []


def test_many_rounds_are_summed():
    rounds = [{"what": f"round {n}", "seconds": float(10 * n)} for n in range(1, 6)]
    assert (
        plan.chain(rounds)
        == "round 5 50 seconds, round 4 40 seconds, round 3 30 seconds and 2 more of 30 seconds in all"
    )


def test_measured_is_held_against_one_worker_measured_or_predicted():
    assert plan.measured(PLAN) == {2: 64.0} and plan.alone(PLAN) == (105.0, False)
    curve = [PLAN["curve"][0] | {"measured_seconds": 128.0}, *PLAN["curve"][1:]]
    both = PLAN | {"curve": curve}
    assert plan.measured(both) == {1: 128.0, 2: 64.0} and plan.alone(both) == (128.0, True)
    x, y = plan.workers_axis(plan.predicted(both)), Axis(0.8, 1.6 * 4.2, log=True)
    assert mark(2, across(x, 2), upward(y, 2.0)) in plan.speedup_picture(both), "128 / 64 = 2"
    assert "measured, 2 workers: 100 % efficiency" in plan.efficiency_picture(both)
    assert "beside the predicted time of one worker" in plan.key(PLAN)
    assert plan.key(both).endswith("measured</li></ul>")


def test_a_number_of_workers_that_the_curve_leaves_out_is_shown():
    assert list(plan.predicted(PLAN | {"workers": 7})) == [1, 2, 3, 7, 1000]


@pytest.mark.parametrize("picture", [plan.speedup_picture, plan.efficiency_picture])
def test_pictures_are_well_formed(picture):
    for one in (
        PLAN,
        PLAN | {"measured_seconds": None},
        PLAN | {"curve": PLAN["curve"][:1], "measured_seconds": None, "workers": 1},
    ):
        ElementTree.fromstring(picture(one))
    assert picture(PLAN).count("predicted, ") == 4 and picture(PLAN).count("measured, ") == 1


def test_the_table_has_round_numbers_and_what_was_measured():
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", plan.plan_table(PLAN))[1:]
    assert [re.search(r">([\d,]+)</td>", one).group(1) for one in rows] == ["1", "2", "1,000"]
    assert "64 seconds" in rows[1] and "87.5 %" in rows[1] and "1.75" in rows[1]
