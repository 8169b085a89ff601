"""What a search does with what its candidates become: entries made up, no network trained."""

from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
import torch
from torch import nn

from prunelle.errors import DiskError, ModelError, WorkError
from prunelle.fit import fitting
from prunelle.fit.budget import Budget
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.fitting import MOST_FINALS, Search
from prunelle.fit.folder import Folder
from prunelle.fit.networks import Brought
from prunelle.fit.outcome import Place
from prunelle.graph.cuts import Cuts

BUDGET = Budget(max_ms=2.0)
IMAGE = torch.zeros(1, 1, 2, 2)


def look(number: int, **figures) -> Entry:
    """The `number`th best of 20: the fewer zeros, the more accurate."""
    figures = {"median_ms": 1.0, "share": 0.5, "size_bytes": 1_000, "val_top1": 0.9 - number / 100} | figures
    one = Candidate((Cut(ZEROS, (number + 1) / 100),), (), "native", "fp32")
    return replace(Entry.example(**figures), candidate=one)


class Played(Search):
    """Knows these entries; `finals` are what they become when they are measured anew, by default themselves."""

    def __init__(self, out: Path, entries: list[Entry], finals: dict[str, Entry] | None = None) -> None:
        self.folder, self.budget, self.place, self.watch = Folder(out), BUDGET, Place(out, model="m"), lambda news: None
        self.before, self.begun, self.finals, self.measured = 0.0, monotonic(), finals or {}, []
        self.known = {one.candidate.id: one for one in entries}
        for one in entries:
            self.add((one, self.folder.work(one.candidate.id)))

    def attempt(self, one: Candidate, final: bool) -> tuple[Entry, Path]:
        self.measured.append(one.id)
        found = self.finals.get(one.id, self.known[one.id])
        return replace(found, final=final), self.folder.work(one.id)


def slow(one: Entry) -> Entry:
    return replace(one, median_ms=3.0)


def refused(one: Entry) -> Entry:
    return replace(one, status="refused", why="off by 5.")


def test_the_best_is_measured_anew_and_taken(tmp_path):
    entries = [look(number) for number in range(3)]
    search = Played(tmp_path, entries)
    assert search.settle() == replace(entries[0], final=True)
    assert search.measured == [entries[0].candidate.id]
    assert search.settle().final and len(search.measured) == 1  # started again it is known


def test_the_next_is_measured_where_the_best_came_out_too_slow(tmp_path):
    entries = [look(number) for number in range(3)]
    search = Played(tmp_path, entries, {entries[0].candidate.id: slow(entries[0])})
    assert search.settle() == replace(entries[1], final=True)


def test_so_many_are_measured_anew_and_no_more_however_often_it_is_killed(tmp_path):
    entries = [look(number) for number in range(MOST_FINALS + 4)]
    search = Played(tmp_path, entries, {one.candidate.id: slow(one) for one in entries})
    assert search.settle() == replace(slow(entries[0]), final=True)
    assert len(search.measured) == MOST_FINALS
    again = Played(tmp_path, [], {})
    assert again.settle() == replace(slow(entries[0]), final=True) and again.measured == []


def test_however_many_are_refused_the_next_one_is_taken(tmp_path):
    entries = [look(number) for number in range(MOST_FINALS + 2)]
    search = Played(tmp_path, entries, {one.candidate.id: refused(one) for one in entries[:-1]})
    assert search.settle() == replace(entries[-1], final=True)


def test_where_all_are_refused_the_reasons_are_told(tmp_path):
    entries = [look(number) for number in range(2)]
    search = Played(tmp_path, entries, {one.candidate.id: refused(one) for one in entries})
    with pytest.raises(WorkError, match=r"m: no file passed the gate \(off by 5\); nothing can be shipped"):
        search.settle()


def test_pytorch_is_the_reference_where_onnx_runtime_does_not_run_the_network(tmp_path, monkeypatch):
    def runtime(word):
        def run(_model, _image, _threads):
            if word in broken:
                raise WorkError(f"{word}: could not be exported.")
            return word

        return run

    search = Played(tmp_path, [])
    search.brought = Brought(nn.Identity(), None, Cuts(), "")
    monkeypatch.setattr(fitting, "load_runtime", runtime)
    broken, search.reference_word = [], "onnxruntime"
    assert (search.make_reference(IMAGE), search.reference_word) == ("onnxruntime", "onnxruntime")
    broken.append("onnxruntime")
    assert (search.make_reference(IMAGE), search.reference_word) == ("eager", "eager")
    broken.append("eager")
    with pytest.raises(WorkError, match="eager: could not be exported"):
        search.make_reference(IMAGE)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ModelError("m: cannot be cut."), "m: cannot be cut."),
        (RuntimeError("mat1 and mat2\nmore"), "1 % zeros: failed (RuntimeError: mat1 and mat2)."),
    ],
)
def test_what_goes_wrong_in_a_network_is_told_in_its_row(tmp_path, monkeypatch, error, why):
    search = Played(tmp_path, [])

    def broken(_one):
        raise error

    monkeypatch.setattr(search, "subject", broken, raising=False)
    entry, work = Search.attempt(search, look(0).candidate, final=False)
    assert (entry.status, entry.why) == ("failed", why) and not list(work.iterdir())


def test_a_full_disk_ends_the_search_and_leaves_no_row(tmp_path, monkeypatch):
    search = Played(tmp_path, [])

    def full(_one):
        raise DiskError("x: could not be written.")

    monkeypatch.setattr(search, "subject", full, raising=False)
    with pytest.raises(DiskError):
        Search.attempt(search, look(0).candidate, final=False)
    assert search.folder.entries() == {}
