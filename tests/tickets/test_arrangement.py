from pathlib import Path

import pytest
from small_lotteries import TASK, Loop, arrangement, everyone, lottery

from prunelle.errors import SettingError
from prunelle.tickets import arrangement as arranging
from prunelle.tickets import trials
from prunelle.tickets.arrangement import (
    TRIED_SHARES,
    Arrangement,
    Rate,
    choose,
    everybody_up,
    fastest,
    jobs_of,
    line,
    parts,
    possible,
)
from prunelle.tickets.grid import Member
from prunelle.tickets.lottery import Place, first_update
from prunelle.train.optimizers import Sgd

pytestmark = pytest.mark.usefixtures("one_thread")
RATES = (
    Rate("plain", 1, 1.0, 8.0),
    Rate("fused", 1, 1.0, 4.0),
    Rate("sparse", 1, 0.5, 6.0),
    Rate("sparse", 1, 0.05, 1.5),
    Rate("plain", 3, 1.0, 9.0),
    Rate("fused", 3, 1.0, 7.0),
    Rate("sparse", 3, 0.5, 6.0),
    Rate("sparse", 3, 0.05, 1.5),
)
ALL = ("plain", "fused", "sparse")


def made(workers: int) -> Arrangement:
    return Arrangement("plain", 0.0, workers, RATES, 0.1, 0.2)


def test_seconds_by_hand() -> None:
    one = made(3)
    assert one.seconds("fused", 1.0, 1) == 4.0 and one.seconds("fused", 1.0, 3) == 7.0
    # Sparse: 10 seconds a share kept, 1 at none.
    assert [one.seconds("sparse", kept, 1) for kept in (0.05, 0.2, 0.5, 1.0)] == pytest.approx([1.5, 3.0, 6.0, 11.0])
    # Two at once were not tried: half way from 1 to 3.
    assert one.seconds("fused", 1.0, 2) == pytest.approx(5.5) and one.seconds("plain", 1.0, 2) == pytest.approx(8.5)
    with pytest.raises(SettingError, match="arrangement: fused with 4 at once was not tried"):
        one.seconds("fused", 1.0, 4)
    with pytest.raises(SettingError, match="arrangement: sparse with 1 at once was not tried"):
        Arrangement("plain", 0.0, 1, RATES[:2]).seconds("sparse", 0.1, 1)


def test_a_line_that_falls_below_nothing_takes_some_time_all_the_same() -> None:
    steep = Arrangement("plain", 0.0, 1, (Rate("sparse", 1, 0.5, 5.0), Rate("sparse", 1, 0.4, 1.0)))
    assert line([(0.4, 1.0), (0.5, 5.0)], 0.1) == pytest.approx(-11.0) and steep.seconds("sparse", 0.1, 1) > 0


def test_the_fastest_by_hand() -> None:
    # One process: fused takes 4 seconds, sparse less below (4 - 1) / 10 = 30 % kept.
    chosen = fastest(made(1), "auto", ALL)
    assert (chosen.whole, chosen.sparse_below) == ("fused", pytest.approx(0.295))
    assert chosen.how(Member(0, 0.29, 0, "ticket")) == "sparse" and chosen.how(Member(0, 0.3, 0, "ticket")) == "fused"
    # Three at once: 7 seconds, so below 60 %.
    assert fastest(made(3), "auto", ALL).sparse_below == pytest.approx(0.6, abs=0.006)
    assert fastest(made(1), "auto", ("plain", "sparse")) == Arrangement(
        "plain", pytest.approx(0.7, abs=0.006), 1, RATES, 0.1, 0.2
    )
    assert fastest(made(1), "auto", ("plain",)) == made(1)


def test_a_word_decides() -> None:
    assert fastest(made(1), "plain", ALL) == made(1)
    told = fastest(made(1), "fused", ALL)
    assert (told.whole, told.sparse_below) == ("fused", 0.0)
    told = fastest(made(1), "sparse", ALL)
    assert {told.how(Member(0, kept, 0)) for kept in (1.0, 0.5, 0.01)} == {"sparse"}


def test_it_is_read_back_as_it_was() -> None:
    chosen = fastest(made(3), "auto", ALL)
    assert Arrangement.from_json(chosen.to_json()) == chosen


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("number", [1, 2, 15, 16, 17, 100])
def test_parts_are_few_equal_and_lose_nobody(number: int, workers: int) -> None:
    found = parts(range(number), 16, workers)  # type: ignore[arg-type]
    assert [member for part in found for member in part] == list(range(number))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1 and max(sizes) <= 16
    assert len(sizes) == min(number, workers * -(-number // (16 * workers)))
    assert [len(part) for part in parts(range(number), 1, workers)] == [1] * number  # type: ignore[arg-type]


def test_jobs_by_hand(tmp_path: Path) -> None:
    told = {"kept": (0.8, 0.5, 0.2, 0.1), "rewinds": (0, 4), "seeds": (0, 1, 2), "controls": ("reinit", "twin")}
    one = lottery(tmp_path, **told)
    members = everyone(one)
    for whole in ("plain", "fused"):
        arranged = arrangement(whole, 0.3, workers=2)  # type: ignore[arg-type]
        jobs = jobs_of(one, Place(tmp_path), members, arranged)
        assert sorted(member for job in jobs for member in job.members) == sorted(members)
        for job in jobs:
            assert len({first_update(member) for member in job.members}) == 1
            assert {arranged.how(member) for member in job.members} == {job.how}
            assert len(job.members) <= (1 if job.how == "plain" else arranging.LARGEST_GROUP)
        # Below .3: at update 0 two tickets, two twins, two of fresh weights, for 3 seeds: 18, in 2 rounds of 2 workers.
        sparse = [len(job.members) for job in jobs if job.how == "sparse" and first_update(job.members[0]) == 0]
        assert sparse == [9, 9] and sum(len(j.members) for j in jobs if j.how == "sparse") == 18 + 12
        if whole == "plain":
            assert all(len(job.members) == 1 for job in jobs if job.how == "plain")


def test_jobs_of_nobody(tmp_path: Path) -> None:
    assert jobs_of(lottery(tmp_path), Place(tmp_path), [], arrangement()) == []


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of a few steps."""
    monkeypatch.setattr(trials, "TRIAL_SECONDS", 0.0)


def test_what_a_group_costs_as_a_whole_falls_on_few() -> None:
    """8 ms a group and 1 ms a member: 2 ms each of eight, 5 ms each of two, 9 ms of one, 1.5 ms of sixteen."""
    rates = (Rate("fused", 1, 1.0, 2.0), Rate("fused", 1, 1.0, 5.0, group=2), Rate("plain", 1, 1.0, 3.0))
    one = Arrangement("fused", 0.0, 1, rates)
    assert [one.seconds("fused", 1.0, 1, group) for group in (8, 2, 1, 16)] == pytest.approx([2.0, 5.0, 9.0, 1.5])
    assert one.seconds("fused", 1.0, 1) == 2.0 and one.seconds("plain", 1.0, 1, 2) == 3.0


def test_every_way_is_tried_alone_and_all_at_once(tmp_path: Path, no_clock: None) -> None:
    engine = Loop(workers=3)
    chosen = choose(lottery(tmp_path), TASK, Place(tmp_path / "out"), engine)
    tried = [(rate.how, rate.together, rate.kept, rate.group) for rate in chosen.rates]
    first, middle, last = TRIED_SHARES
    each = [("plain", 1.0, 8), ("fused", 1.0, 8), ("fused", 1.0, 2)]
    each += [("sparse", first, 8), ("sparse", middle, 8), ("sparse", middle, 2), ("sparse", last, 8)]
    assert tried == [(how, together, kept, group) for together in (1, 3) for how, kept, group in each]
    assert all(rate.seconds > 0 for rate in chosen.rates) and chosen.look_seconds > 0 and chosen.finish_seconds > 0
    assert len(engine.jobs) == len(each) + len(each) * 3 + 1 and chosen.workers == 3
    assert not (tmp_path / "out").exists()


def test_a_trial_waits_for_workers_that_still_start() -> None:
    class Slow:
        workers, calls = 2, 0

        def run(self, function: object, jobs: list, watch: object = None) -> list:
            self.calls += 1
            return ["first", "first"] if self.calls < 3 else ["first", "second"]

    engine = Slow()
    everybody_up(engine)  # type: ignore[arg-type]
    assert engine.calls == 3


@pytest.mark.parametrize(
    ("told", "tried"), [("plain", {"plain"}), ("fused", {"fused"}), ("sparse", {"plain", "sparse"})]
)
def test_a_way_that_is_told_is_tried_alone(told: str, tried: set[str], tmp_path: Path, no_clock: None) -> None:
    chosen = choose(lottery(tmp_path), TASK, Place(tmp_path), Loop(), told)
    assert {rate.how for rate in chosen.rates} == tried
    assert (chosen.whole, chosen.sparse_below) == (
        "plain" if told == "sparse" else told,
        2.0 if told == "sparse" else 0.0,
    )


def test_one_worker_is_tried_once(tmp_path: Path, no_clock: None) -> None:
    assert {rate.together for rate in choose(lottery(tmp_path), TASK, Place(tmp_path), Loop()).rates} == {1}


def test_what_does_not_go_is_left_out_or_refused_with_its_reason(tmp_path: Path, no_clock: None) -> None:
    one = lottery(tmp_path, "conv", optimizer=Sgd())
    ways = possible(one, TASK, Place(tmp_path))
    assert ways["plain"] is None and ways["fused"] and "drops other units" in ways["fused"]
    assert possible(one, TASK, Place(tmp_path, "cuda"))["sparse"] == "it works on the CPU only; take another."
    with pytest.raises(SettingError, match=r"arrangement 'fused': 4 \(Dropout\) drops other units .* train one by one"):
        choose(one, TASK, Place(tmp_path), Loop(), "fused")
    assert choose(one, TASK, Place(tmp_path), Loop(), "plain").whole == "plain"
