from pathlib import Path

import pytest
import torch

from prunelle.errors import CorruptFileError
from prunelle.models.load import build
from prunelle.models.save import Builder, save
from prunelle.recipes.plan import PlannedRun, plan
from prunelle.runs import Run

from .small import at_once, cell, recipe

DATA = {"digits": "f" * 64}


def folder(planned: PlannedRun, parent: Path) -> str:
    return Run.open(parent, planned.settings, planned.seed).id


def test_cells_of_one_dense_training_share_its_run(tmp_path: Path) -> None:
    planned = plan(recipe(cell(), at_once(), seeds=(0, 1, 2)), DATA)
    assert [one.variant for one in planned] == ["dense"] * 3 + ["pruned"] * 6
    assert len({folder(one, tmp_path) for one in planned}) == 9
    for one in planned[3:]:
        assert one.dense is planned[one.seed]


def test_the_same_pruning_twice_is_one_run() -> None:
    assert len(plan(recipe(cell("a"), cell("b")), DATA)) == 2


def test_a_repeated_seed_is_one_run() -> None:
    assert len(plan(recipe(seeds=(4, 4)), DATA)) == 2


def test_no_stages_leave_the_dense_network() -> None:
    (only,) = plan(recipe(cell(stages=())), DATA)
    assert (only.variant, only.dense) == ("dense", None)


def test_the_folder_of_a_run_is_the_same_tomorrow(tmp_path: Path) -> None:
    """Another name would lose everybody's finished runs: change it only with what a run computes."""
    dense, pruned = plan(recipe(), DATA)
    assert folder(dense, tmp_path) == "acfee12b565fb404"
    assert folder(pruned, tmp_path) == "6c2a946cc3eeb6f5"


@pytest.mark.parametrize(
    "other",
    [
        recipe(seeds=(1,)),
        recipe(cell(model="lenet5_small")),
        recipe(cell(dense=cell().dense.model_copy(update={"lr": 3e-3}))),
        recipe(cell(input_shape=(1, 8, 8))),
    ],
)
def test_whatever_changes_the_training_changes_both_folders(other, tmp_path: Path) -> None:
    before, after = ({folder(one, tmp_path) for one in plan(r, DATA)} for r in (recipe(), other))
    assert not before & after


def test_other_data_are_other_runs(tmp_path: Path) -> None:
    before, after = ({folder(one, tmp_path) for one in plan(recipe(), {"digits": f})} for f in ("a", "b"))
    assert not before & after


def test_a_label_names_no_run(tmp_path: Path) -> None:
    first, second = ([folder(one, tmp_path) for one in plan(recipe(cell(label)), DATA)] for label in "ab")
    assert first == second


def test_a_network_that_is_brought_and_not_trained_is_measured_once_for_all_seeds(tmp_path: Path) -> None:
    network = build("lenet_300_100", input_shape=(1, 8, 8), num_classes=10)
    builder = Builder(spec="lenet_300_100", input_shape=[1, 8, 8], num_classes=10)
    save(network, tmp_path / "m", builder=builder)
    brought = cell(model=str(tmp_path / "m"), dense=None)
    planned = plan(recipe(brought, seeds=(0, 1, 2)), DATA)
    assert [(one.variant, one.seed) for one in planned] == [("dense", 0), *(("pruned", s) for s in range(3))]

    with torch.no_grad():
        next(network.parameters()).add_(1)
    save(network, tmp_path / "m", builder=builder)
    assert folder(plan(recipe(brought), DATA)[0], tmp_path) != folder(planned[0], tmp_path)


def test_a_users_file_that_changed_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    mine = recipe(cell(model=f"{file}:make"))
    folders = []
    for text in ("def make(): ...", "def make(): ... # other"):
        file.write_text(text)
        folders.append([folder(one, tmp_path / "runs") for one in plan(mine, DATA)])
    assert not set(folders[0]) & set(folders[1])
    file.unlink()
    with pytest.raises(CorruptFileError, match=r"mine\.py: cannot be read \(No such file or directory\)"):
        plan(mine, DATA)
