"""What `prunelle.fit(...)` refuses at the door, and what it hands to the search; no search is made."""

from dataclasses import replace

import pytest
import torch
from tiny import CLASSES, SHAPE, mlp, small_task
from torch.utils.data import DataLoader, TensorDataset

import prunelle.fit
from prunelle.data.task import Task
from prunelle.errors import CorruptFileError, DataError, ModelError, RunConflictError, SettingError
from prunelle.files import write_sealed_json
from prunelle.fit import call
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry

LENGTH = 24


@pytest.fixture
def searched(monkeypatch) -> list:
    """What a search was given."""
    given: list = []
    monkeypatch.setattr(call, "search", lambda *words: given.extend(words) or {"met": True})
    return given


def loaders(**shuffled: bool) -> Task:
    images = torch.arange(LENGTH * 72.0).view(LENGTH, *SHAPE)
    data = TensorDataset(images, torch.arange(LENGTH) % CLASSES)
    parts = {
        name: DataLoader(data, batch_size=5, shuffle=shuffled.get(name, False)) for name in ("train", "val", "test")
    }
    return Task.from_loaders(**parts, input_shape=SHAPE, num_classes=CLASSES)


def test_the_model_stays_as_it_was(searched, tmp_path):
    model = mlp().train()
    found = prunelle.fit(model, small_task(), out=tmp_path / "new", max_ms=3)
    assert found.met and found.folder == tmp_path / "new" / "best"
    brought, _, budget, place, _ = searched
    assert model.training and not brought.model.training and brought.model is not model
    assert (budget.max_ms, budget.max_kb, place.out, brought.builder) == (3, None, tmp_path / "new", None)


def test_a_candidate_alone_is_read_from_a_row_and_needs_no_limit(searched, tmp_path):
    one = Candidate((Cut(ZEROS, 0.5),), (2,), "native", "fp32")
    write_sealed_json(tmp_path / "row.json", Entry(one, "fit").to_json())
    prunelle.fit(mlp(), small_task(), out=tmp_path / "o", candidate=tmp_path / "row.json")
    assert searched[3].candidate == one and searched[3].python and searched[3].words == ("model", "task")
    write_sealed_json(tmp_path / "row.json", {"candidate": [1]})
    with pytest.raises(SettingError, match=r"row\.json: is no candidate .*; take a file that prunelle fit wrote"):
        prunelle.fit(mlp(), small_task(), out=tmp_path / "o", candidate=tmp_path / "row.json")
    with pytest.raises(CorruptFileError, match=r"none\.json: cannot be read"):
        prunelle.fit(mlp(), small_task(), out=tmp_path / "o", candidate=tmp_path / "none.json")


def test_a_model_that_is_frozen_as_a_whole_can_be_trained(searched, tmp_path):
    model = mlp().requires_grad_(False)
    prunelle.fit(model, small_task(), out=tmp_path, max_ms=3)
    assert all(value.requires_grad for value in searched[0].model.parameters())
    assert not any(value.requires_grad for value in model.parameters())


def test_what_is_frozen_in_part_stays_so(searched, tmp_path):
    model = mlp()
    model[1].requires_grad_(False)
    prunelle.fit(model, small_task(), out=tmp_path, max_ms=3)
    assert [value.requires_grad for value in searched[0].model.parameters()] == [False, False, True, True]


def test_a_training_loader_may_shuffle(searched, tmp_path):
    prunelle.fit(mlp(), loaders(train=True), out=tmp_path, max_ms=3)
    assert searched


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_loader_whose_order_changes_is_refused(searched, tmp_path, part):
    with pytest.raises(DataError, match=f"{part} loader: gives other images, or another order .* shuffle=False"):
        prunelle.fit(mlp(), loaders(**{part: True}), out=tmp_path, max_ms=3)
    assert not searched


def test_a_folder_of_other_things_is_left_alone(searched, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(RunConflictError, match=r"is not empty and holds no asked\.json; choose another folder"):
        prunelle.fit(mlp(), small_task(), out=tmp_path, max_ms=3)
    assert not searched


def test_other_outputs_than_the_task_has_are_refused(searched, tmp_path):
    task = replace(small_task(), num_classes=CLASSES + 1)
    with pytest.raises(ModelError, match="Sequential gives 3 outputs and small has 4; use a fitting one"):
        prunelle.fit(mlp(), task, out=tmp_path, max_ms=3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "no limit was given; give max_ms, max_kb or max_drop"),
        ({"max_ms": 0}, "max_ms is 0, must be a number above 0"),
        ({"max_kb": float("nan")}, "max_kb is nan, must be a number above 0"),
        ({"max_ms": 1, "minutes": 0}, "minutes is 0, must be above 0"),
        ({"max_ms": 1, "threads": 0}, "threads is 0, must be 1 to"),
    ],
)
def test_settings_out_of_range_are_refused(searched, tmp_path, settings, told):
    with pytest.raises(SettingError, match=told):
        prunelle.fit(mlp(), small_task(), out=tmp_path, **settings)
    assert not searched and not list(tmp_path.iterdir())
