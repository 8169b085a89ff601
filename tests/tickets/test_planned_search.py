"""tickets/plan.py: what a search costs, worked out on paper."""

from pathlib import Path

import pytest
from small_lotteries import PER_EPOCH, arrangement, everyone, lottery

from prunelle.tickets.arrangement import Arrangement, Rate
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Place
from prunelle.tickets.plan import Costs, curve, limits, makespan, numbers, plan_of, predict, work_seconds

# An update takes 1 second alone and 1.5 with two at once, a validation .5, what follows the last epoch 2.
RATES = (Rate("plain", 1, 1.0, 1.0), Rate("plain", 2, 1.0, 1.5))
MADE = Arrangement("plain", 0.0, 2, RATES, 0.5, 2.0)
TOLD = {"epochs": 2, "kept": (0.5, 0.2), "rewinds": (0, 9), "seeds": (0,)}
WHOLE = 12 + 2 * 0.5 + 2
"""Of the dense network, or a ticket from the start, alone: 2 epochs of 6 updates."""
LATER = 3 + 1 * 0.5 + 2
"""Of a ticket from update 9, in the second epoch."""


def costs(tmp_path: Path, arranged: Arrangement = MADE, before: float = 10.0, **changed: object) -> Costs:
    return Costs(lottery(tmp_path, **TOLD | changed), arranged, PER_EPOCH, before)


def test_one_training_by_hand(tmp_path: Path) -> None:
    one = costs(tmp_path)
    assert one.member(dense(0), 1) == WHOLE == 15
    assert one.member(Member(0, 0.5, 9, "ticket"), 1) == LATER == 5.5
    assert one.member(Member(0, 0.5, 9, "reinit"), 1) == WHOLE
    # Two at once: everything takes half as long again.
    assert one.slower(2) == 1.5 and one.member(dense(0), 2) == 1.5 * WHOLE


def test_the_whole_search_by_hand(tmp_path: Path) -> None:
    one, place = costs(tmp_path), Place(tmp_path)
    # In a row: the trial, the dense network, then 2 masks x (15 + 5.5).
    assert predict(one, place, 1) == 10 + 15 + 2 * (15 + 5.5) == 66
    # Two workers: the dense network has the machine for itself; then 22.5 beside 22.5, and 8.25 beside 8.25.
    assert predict(one, place, 2) == 10 + 15 + 22.5 + 8.25
    # Five: each of the four tickets has a worker, on machines of two.
    assert predict(one, place, 5) == 10 + 15 + 22.5
    assert work_seconds(one) == 15 + 41


def test_groups_are_handed_out_whole(tmp_path: Path) -> None:
    fused = Arrangement("fused", 0.0, 1, (Rate("fused", 1, 1.0, 0.25),), 0.5, 2.0)
    one = costs(tmp_path, fused, before=0.0, rewinds=(0,), kept=tuple(0.9**n for n in range(1, 21)))
    each = 12 * 0.25 + 2 * 0.5 + 2
    # 20 tickets are 2 groups of 10 for one or two workers, 3 groups of 6 or 7 for three.
    assert [predict(one, Place(tmp_path), n) for n in (1, 2, 3)] == [21 * each, 11 * each, 8 * each]


def test_rounds_wait_for_each_other(tmp_path: Path) -> None:
    one = costs(tmp_path, iterative=True, rewinds=(0,))
    assert predict(one, Place(tmp_path), 1) == predict(one, Place(tmp_path), 1000) == 10 + 3 * 15
    assert [row["what"] for row in limits(one)] == [
        "start and trial",
        "dense network",
        "round 1 of masks, which waits for the one before",
        "round 2 of masks, which waits for the one before",
    ]


def test_what_no_worker_shortens_by_hand(tmp_path: Path) -> None:
    found = limits(costs(tmp_path))
    assert found == [
        {"what": "start and trial", "seconds": 10.0},
        {"what": "dense network", "seconds": 15.0},
        {"what": "longest training", "seconds": 22.5},
    ]


def test_one_worker_is_as_fast_as_one_worker(tmp_path: Path) -> None:
    first, *rest = curve(costs(tmp_path), Place(tmp_path))
    assert (first["workers"], first["speedup"], first["efficiency"]) == (1, 1.0, 1.0)
    assert rest[-1]["workers"] == 1000 and rest[-1]["speedup"] == pytest.approx(66 / 47.5)
    assert all(row["efficiency"] == pytest.approx(row["speedup"] / row["workers"]) for row in rest)


def test_the_plan_adds_up(tmp_path: Path) -> None:
    one = costs(tmp_path)
    found = plan_of(one, Place(tmp_path), 2)
    assert found["num_trainings"] == 5 == len(everyone(one.lottery))
    assert found["num_updates"] == 12 + 2 * (12 + 3)
    assert (found["work_seconds"], found["seconds"], found["serial_seconds"]) == (56, 55.75, 47.5)
    assert found["speedup"] == pytest.approx(66 / 55.75) and found["efficiency"] == pytest.approx(33 / 55.75)
    alone = plan_of(one, Place(tmp_path), 1)
    assert (alone["speedup"], alone["efficiency"]) == (1.0, 1.0)


def test_a_machine_of_many_cores_has_a_plan_too(tmp_path: Path) -> None:
    rates = (Rate("plain", 1, 1.0, 1.0), Rate("plain", 16, 1.0, 4.0))
    found = plan_of(costs(tmp_path, Arrangement("plain", 0.0, 16, rates, 0.5, 2.0)), Place(tmp_path), 2)
    # One more at once costs .2: 10 + 15 + 1.2 * (15 + 5.5).
    assert found["seconds"] == pytest.approx(25 + 1.2 * 20.5)
    assert [row["workers"] for row in found["curve"]] == numbers(1000)


def test_numbers_of_workers() -> None:
    assert numbers(1) == [1] and numbers(7) == [1, 2, 3, 4, 6, 7] and numbers(1000)[-3:] == [600, 800, 1000]


def test_makespan() -> None:
    assert makespan([], 4) == 0.0 and makespan([2.0, 3.0], 1) == 5.0
    assert makespan([4.0, 1.0, 1.0, 1.0, 3.0], 2) == 6.0  # 4, then the 3 that waits until 3 on the other: 6
    assert makespan([1.0, 2.0], 5) == 2.0


def test_a_made_arrangement_for_tests_knows_all_ways() -> None:
    assert arrangement("fused", workers=2).seconds("sparse", 0.1, 2) == 1.0
