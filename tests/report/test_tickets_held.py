"""A ticket beside its controls: the same seeds, the worst of one against the best of the other."""

import pytest

from prunelle.report.groups import Spread
from prunelle.report.tickets_held import at_point, finished, held_against, rewinding_points

from .ticket_rows import ROWS, WINNER, row, skipped, three


def test_worked_out_by_hand():
    random, reinit = held_against(ROWS, WINNER)
    assert (random.control, reinit.control) == ("random", "reinit")
    assert random.own == Spread(0.9805, 0.9805, 0.9835, 3) and random.other == Spread(0.971, 0.970, 0.972, 3)
    assert random.lead == pytest.approx(0.0095) and random.clear and random.ended_early == 0
    assert reinit.lead == pytest.approx(0.0045) and reinit.clear, "its worst, 98.05, is above the control's best, 98.00"


def test_a_lead_within_the_band_is_not_clear():
    rows = [one for one in ROWS if one["variant"] != "reinit"]
    held = held_against([*rows, *three("reinit", 0.04, 0, 0.975, 0.9805, 0.976)], WINNER)[1]
    assert held.ahead and not held.clear, "the best control equals the worst ticket"


def test_only_seeds_that_both_have_count():
    rows = [
        one for one in ROWS if (one["variant"], one["rewind"], one["kept"], one["seed"]) != ("random", 100, 0.04, 1)
    ]
    lost = [*rows, row("random", 0.04, 100, 1, 0.1, status="diverged")]
    held = held_against(lost, WINNER)[0]
    assert held.own == Spread(pytest.approx(0.982), 0.9805, 0.9835, 2) and held.other.num == 2


def test_one_seed_is_never_clear():
    held = held_against([one for one in ROWS if one["seed"] == 2], WINNER)[0]
    assert held.ahead and held.own.num == 1 and not held.clear


def test_a_control_without_a_finished_training_has_no_lead():
    rows = [one for one in ROWS if one["variant"] != "random"] + [
        skipped("random", 0.04, 100, seed) for seed in range(3)
    ]
    held = held_against(rows, WINNER)[0]
    assert held.control == "random" and held.own is None and held.lead is None and not held.clear and not held.ahead


def test_fresh_weights_are_those_of_the_point_where_every_point_has_its_own():
    rows = [*ROWS, *three("reinit", 0.04, 100, 0.9, 0.9, 0.9)]
    assert held_against(rows, WINNER)[1].other.median == 0.9
    assert [one["rewind"] for one in at_point(rows, "reinit", 0)] == [0, 0, 0]


def test_controls_that_were_ended_early_are_counted():
    rows = [one | {"status": "hopeless"} if one["variant"] == "random" and one["seed"] < 2 else one for one in ROWS]
    assert held_against(rows, WINNER)[0].ended_early == 2


def test_without_controls_there_is_nothing_to_hold_against():
    assert held_against([one for one in ROWS if one["variant"] in ("dense", "ticket")], WINNER) == []


def test_rewinding_points_are_the_tickets_own():
    assert rewinding_points(ROWS) == {0: 0.0, 100: 0.5}
    rows = [one for one in ROWS if one["variant"] != "ticket" or one["rewind"] == 100]
    assert rewinding_points(rows) == {100: 0.5}, "fresh weights at update 0 make no point"
    assert finished([skipped("ticket", 0.5, 0, 0), row("ticket", 0.5, 0, 0, 0.9, status="diverged")]) == []
