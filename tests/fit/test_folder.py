import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prunelle.errors import BusyError, CorruptFileError, RunConflictError
from prunelle.files import read_sealed_json
from prunelle.fit import folder as folder_module
from prunelle.fit.budget import Budget
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.folder import Folder

BUDGET = Budget(max_ms=2.0)
ASKED = {"network": "abc", "budget": [1.0, None]}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def entry(amount: float, **figures) -> Entry:
    figures = {"median_ms": 1.0, "share": 0.5, "size_bytes": 1_000, "val_top1": 0.9} | figures
    return replace(Entry.example(**figures), candidate=Candidate((Cut(ZEROS, amount),), (), "native", "fp32"))


def add(folder: Folder, one: Entry, content: str = "made") -> None:
    """As a search adds: files in a folder of work, the row, the link."""
    work = folder.work(one.candidate.id)
    (work / "model.bin").write_text(content)
    folder.add(one, work)
    folder.point(BUDGET)


def files(folder: Folder) -> set[str]:
    return {path.name for path in (folder.out / "files").iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def test_what_was_added_is_known_stands_and_is_the_best(folder: Folder) -> None:
    one = entry(0.5)
    add(folder, one)
    assert folder.entries() == {one.candidate.id: one}
    assert (folder.out / "best" / "model.bin").read_text() == "made"
    assert not (folder.out / f".work-{one.candidate.id}").exists()
    assert Entry.from_json(read_sealed_json(folder.row(one)), "row") == one


def test_an_empty_folder_knows_nothing(folder: Folder) -> None:
    assert (folder.entries(), folder.notes(), folder.result, folder.point(BUDGET)) == ({}, {}, None, None)
    assert not folder.out.exists()


def test_the_link_follows_the_best_and_beaten_files_go(folder: Folder) -> None:
    poor, good, cheap = entry(0.1, val_top1=0.8), entry(0.2), entry(0.3, val_top1=0.7, size_bytes=500)
    add(folder, poor)
    add(folder, good)
    assert files(folder) == {good.candidate.id}  # as fast, as small, more accurate: `poor` is of no more use
    add(folder, cheap)
    assert files(folder) == {good.candidate.id, cheap.candidate.id}
    assert os.readlink(folder.out / "best") == f"files/{good.candidate.id}"
    assert set(folder.entries()) == {one.candidate.id for one in (poor, good, cheap)}


def test_one_that_is_not_fit_leaves_a_row_and_no_files(folder: Folder) -> None:
    bad = replace(entry(0.1), status="refused", why="no.")
    add(folder, bad)
    assert folder.entries()[bad.candidate.id].why == "no."
    assert not (folder.out / "best").exists() and not folder.place(bad).exists()
    assert not list(folder.out.glob(".work-*"))


def test_the_final_figures_replace_those_of_the_look(folder: Folder) -> None:
    look = entry(0.1)
    final = replace(look, median_ms=1.1, final=True)
    add(folder, look, "look")
    add(folder, final, "final")
    assert folder.entries() == {look.candidate.id: final}
    assert (folder.out / "best" / "model.bin").read_text() == "final"
    assert files(folder) == {f"{look.candidate.id}-final"}
    assert folder.looks() == {look.candidate.id: look}  # what the search goes by stays as it was
    add(folder, look, "look again")
    assert folder.entries() == {look.candidate.id: final}


def test_the_link_leads_where_it_is_told(folder: Folder) -> None:
    good, cheap = entry(0.2), entry(0.3, val_top1=0.7, size_bytes=500)
    add(folder, cheap, "cheap")
    add(folder, good, "good")
    folder.link(cheap)
    assert (folder.out / "best" / "model.bin").read_text() == "cheap"


def test_a_final_one_that_failed_is_not_fit_though_its_look_was(folder: Folder) -> None:
    look = entry(0.1)
    add(folder, look, "look")
    add(folder, replace(look, status="failed", why="no.", final=True))
    assert not folder.entries()[look.candidate.id].fit
    assert (folder.out / "best" / "model.bin").read_text() == "look"  # until another is made, this one opens


def test_one_that_fails_after_it_was_linked_goes_once_another_is_linked(folder: Folder) -> None:
    """As on the test split: its files stay until OUT/best leads elsewhere, and go with the link where nothing else
    stands."""
    good, cheap = replace(entry(0.2), final=True), entry(0.3, val_top1=0.7, size_bytes=500)
    add(folder, good, "good")
    add(folder, cheap, "cheap")
    folder.add(replace(good, status="refused"), folder.work("x"))
    assert (folder.out / "best" / "model.bin").read_text() == "good"  # a kill here leaves what opens
    folder.point(BUDGET)
    assert (folder.out / "best" / "model.bin").read_text() == "cheap"
    assert files(folder) == {cheap.candidate.id}
    folder.drop(good)
    assert (folder.out / "best" / "model.bin").read_text() == "cheap"
    folder.drop(cheap)
    assert not os.path.lexists(folder.out / "best") and not files(folder)


def test_the_best_that_stands_is_linked_where_the_best_known_was_dropped(folder: Folder) -> None:
    """The second best was beaten and its files dropped; then the best came out too slow when it was measured anew."""
    first = entry(0.1, median_ms=1.5, val_top1=0.9)
    second = entry(0.2, median_ms=1.6, val_top1=0.9)
    add(folder, first)
    add(folder, second)
    assert files(folder) == {first.candidate.id}
    add(folder, replace(first, median_ms=2.5, final=True), "final")
    assert (folder.out / "best" / "model.bin").read_text() == "final"
    add(folder, second, "second, made again")
    assert (folder.out / "best" / "model.bin").read_text() == "second, made again"


STEPS = ("replace", "write_sealed_json", "symlink", "rename")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_in_between_loses_nothing_and_leaves_the_best_open(folder, monkeypatch, step) -> None:
    """Before the files are in place, before the row, before the link, before it has its name."""
    first, second = entry(0.1, val_top1=0.8), entry(0.2)
    add(folder, first, "first")
    calls = 0

    def killed(*_args, **_more):
        raise Killed

    with monkeypatch.context() as patch:
        if step == "replace":
            patch.setattr(folder_module.os, "replace", killed)
        elif step == "write_sealed_json":
            patch.setattr(folder_module, "write_sealed_json", killed)
        elif step == "symlink":
            patch.setattr(Path, "symlink_to", killed)
        else:
            real = os.replace

            def second_kills(source, target):
                nonlocal calls
                calls += Path(target).name == "best"
                return killed() if Path(target).name == "best" else real(source, target)

            patch.setattr(folder_module.os, "replace", second_kills)
        with pytest.raises(Killed):
            add(folder, second, "second")
    assert step != "rename" or calls == 1

    assert (folder.out / "best" / "model.bin").read_text() == "first"
    with folder.held(ASKED):
        known = folder.entries()
        assert (second.candidate.id in known) == (step in ("symlink", "rename"))
        assert not list(folder.out.glob(".work-*")) and not list(folder.out.glob(".best-*"))
        if second.candidate.id not in known:
            add(folder, second, "second")
        folder.point(BUDGET)
    assert (folder.out / "best" / "model.bin").read_text() == "second"
    assert files(folder) == {second.candidate.id}


@pytest.mark.parametrize("name", ["row", "asked.json", "search.json", "result.json"])
def test_damage_is_refused_by_name(folder: Folder, name: str) -> None:
    one = entry(0.1)
    with folder.held(ASKED):
        add(folder, one)
        folder.note(spent=1.5)
        folder.finish({"met": True})
    path = folder.row(one) if name == "row" else folder.out / name
    raw = path.read_bytes()
    for damaged in (raw[:-5], raw.replace(b":", b";", 1), b"", raw.replace(b"1", b"2", 1)):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match=path.name), folder.held(ASKED):
            folder.entries(), folder.notes(), folder.result


def test_a_row_under_another_name_is_refused(folder: Folder) -> None:
    one, other = entry(0.1), entry(0.2)
    add(folder, one)
    shutil.copy(folder.row(one), folder.row(other))
    with pytest.raises(CorruptFileError, match=rf"{other.candidate.id}\.json"):
        folder.entries()


def test_another_question_is_refused_and_the_same_one_goes_on(folder: Folder) -> None:
    with folder.held(ASKED):
        folder.note(spent=1.0)
    with folder.held(dict(reversed(ASKED.items()))):
        assert folder.notes() == {"spent": 1.0}
    with (
        pytest.raises(RunConflictError, match="holds a search of another network, data or budget; choose another"),
        folder.held(ASKED | {"network": "abd"}),
    ):
        pass
    assert folder.notes() == {"spent": 1.0}


def test_two_at_once_are_refused(folder: Folder) -> None:
    with (
        folder.held(ASKED),
        pytest.raises(BusyError, match="another process is at work"),
        Folder(folder.out).held(ASKED),
    ):
        pass


def test_notes_are_changed_one_by_one_and_the_result_comes_back(folder: Folder) -> None:
    folder.out.mkdir()
    folder.note(spent=1.0, precision="fp32")
    folder.note(spent=2.0)
    assert folder.notes() == {"spent": 2.0, "precision": "fp32"}
    folder.finish({"met": False, "chosen": "x"})
    assert folder.result == {"met": False, "chosen": "x"}


def test_a_folder_of_work_is_empty_whatever_stood_there(folder: Folder) -> None:
    (folder.work("x") / "left").write_text("of a kill")
    assert list(folder.work("x").iterdir()) == []
