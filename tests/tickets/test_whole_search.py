"""tickets/sweep.py: waves, second starts, and what must not depend on the workers."""

from pathlib import Path

import pytest
from small_lotteries import (
    TASK,
    Killed,
    Loop,
    arrangement,
    everyone,
    found_of,
    killed_at,
    lottery,
    same,
    searched,
    weights_of,
)
from tiny import same_bits

from prunelle.engines.local import num_cores, workers_of
from prunelle.errors import SettingError
from prunelle.files import write_sealed_json
from prunelle.runs import Run
from prunelle.tickets import finished
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Lottery, Place
from prunelle.tickets.results import CLOCKED, rows_of
from prunelle.tickets.sweep import ARRANGEMENT, Swept, standing, sweep
from prunelle.tickets.work import Job

pytestmark = pytest.mark.usefixtures("one_thread")
TOLD = {"epochs": 2, "kept": (0.6, 0.2), "rewinds": (0, 4), "seeds": (0, 1), "controls": ("twin",)}


def rows(one: Lottery, found: Swept, out: Path) -> list[dict]:
    """Without the columns of the clock."""
    return [{k: v for k, v in row.items() if k not in CLOCKED} for row in rows_of(one, found, Place(out), 6)]


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


WAYS = {"plain": arrangement(), "fused": arrangement("fused"), "mixed": arrangement("plain", 0.5)}


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lottery, Path, dict[tuple[str, int], Swept]]:
    """The search in every way, by one process and by two. mixed: those that keep less than half are trained sparse."""
    folder = tmp_path_factory.mktemp("everywhere")
    one, found = lottery(folder, **TOLD), {}
    for number in range(1, min(2, num_cores()) + 1):
        with workers_of(number, TASK) as engine:
            for way, arranged in WAYS.items():
                out = folder / f"{way}{number}"
                out.mkdir()
                write_sealed_json(out / ARRANGEMENT, arranged.to_json())
                found[way, number] = sweep(one, TASK, Place(out), engine, lambda what, share: None)
    return one, folder, found


@pytest.mark.skipif(num_cores() < 2, reason="one core")
@pytest.mark.parametrize("way", WAYS)
def test_the_number_of_workers_changes_nothing_but_the_clock(
    everywhere: tuple[Lottery, Path, dict[tuple[str, int], Swept]], way: str
) -> None:
    one, folder, found = everywhere
    first, second = found[way, 1], found[way, 2]
    assert len(first.cards) == 2 + 2 * 2 * 2 * 2 and not first.skipped
    assert rows(one, first, folder / f"{way}1") == rows(one, second, folder / f"{way}2")
    assert same(one, folder / f"{way}1", folder / f"{way}2", everyone(one))
    assert {card["took"]["how"] for card in second.cards.values()} == ({"plain", "sparse"} if way == "mixed" else {way})


def test_a_process_ends_as_this_one_does(
    everywhere: tuple[Lottery, Path, dict[tuple[str, int], Swept]], tmp_path: Path
) -> None:
    one, folder, found = everywhere
    here = searched(one, tmp_path / "here")
    assert rows(one, here, tmp_path / "here") == rows(one, found["plain", 1], folder / "plain1")
    assert same(one, tmp_path / "here", folder / "plain1", everyone(one))


def test_a_second_start_does_nothing(tmp_path: Path) -> None:
    one = lottery(tmp_path, **TOLD)
    first = searched(one, tmp_path / "out")
    before, engine = times(tmp_path / "out"), Loop()
    second = searched(one, tmp_path / "out", engine=engine)
    assert times(tmp_path / "out") == before and engine.jobs == []
    assert (second.cards, second.barriers, second.skipped) == (first.cards, first.barriers, [])
    assert rows_of(one, first, Place(tmp_path / "out"), 6) == rows_of(one, second, Place(tmp_path / "out"), 6)


def test_killed_anywhere_it_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, **TOLD | {"seeds": (0,), "iterative": True})
    searched(one, tmp_path / "whole")
    done: list[int] = []
    for owner, name in ((Run, "finish"), (finished, "save"), (Run, "record"), (Run, "save_checkpoint")) * 2:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, owner, name, 2)
            searched(one, tmp_path / "killed")
            raise Killed
        done.append(sum((path / "card.json").exists() for path in (tmp_path / "killed" / "runs").iterdir()))
    assert done == sorted(done) and done[0] < done[-1]
    whole = searched(one, tmp_path / "whole")
    killed = searched(one, tmp_path / "killed")
    assert rows(one, whole, tmp_path / "whole") == rows(one, killed, tmp_path / "killed")
    assert same(one, tmp_path / "whole", tmp_path / "killed", everyone(one))


def test_what_an_arrangement_was_chosen_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later start trains as the first one did, in groups for the workers it has."""
    one = lottery(tmp_path, kept=tuple(0.9**n for n in range(1, 9)), epochs=1)
    engine = Loop(workers=2)
    found = searched(one, tmp_path / "out", arrangement("fused", workers=1), engine)
    assert found.arrangement == arrangement("fused", workers=1)
    assert [len(job.members) for job in engine.jobs if isinstance(job, Job)] == [1, 4, 4]


def test_a_word_that_does_not_go_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    one = lottery(tmp_path, "conv")
    with pytest.raises(SettingError, match="arrangement 'fused'"):
        sweep(one, TASK, Place(tmp_path / "out"), Loop(), lambda what, share: None, "fused")
    assert not (tmp_path / "out").exists()


def test_a_point_after_the_end_is_refused_first(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=1, rewinds=(6,))
    with pytest.raises(SettingError, match="a rewinding point is update 6 and the dense run has 6"):
        sweep(one, TASK, Place(tmp_path / "out"), Loop(), lambda what, share: None)


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=1, kept=(0.5, 0.4, 0.3))
    place = Place(tmp_path / "out")
    assert standing(one, place, everyone(one)) == ("0 of 4 trainings", 0.0)
    told: list[tuple[str, float]] = []
    place.out.mkdir()
    write_sealed_json(place.out / ARRANGEMENT, arrangement().to_json())
    sweep(one, TASK, place, Loop(), lambda what, share: told.append((what, share)))
    assert told == [("1 of 4 trainings", 0.25), ("4 of 4 trainings", 1.0)]


def test_what_is_told_is_what_stands_on_disk(tmp_path: Path) -> None:
    one = lottery(tmp_path, **TOLD | {"rewinds": (4,), "seeds": (3,)})
    found = searched(one, tmp_path / "out")
    for member, card in found.cards.items():
        own = weights_of(one, tmp_path / "out", member)
        nnz = sum(int((own[name] != 0).sum()) for name in ("1.weight", "3.weight"))
        assert nnz == card["found"]["nnz"] == round(member.kept * 750)
        assert card["found"] == found_of(one, tmp_path / "out", member)
    ticket, twin = Member(3, 0.6, 4, "ticket"), Member(3, 0.6, 4, "twin")
    assert not same_bits(weights_of(one, tmp_path / "out", ticket), weights_of(one, tmp_path / "out", twin))
    assert dense(3) in found.cards and set(found.barriers) == {twin, Member(3, 0.2, 4, "twin")}
