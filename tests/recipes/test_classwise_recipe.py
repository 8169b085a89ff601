"""A class-wise recipe from its words to what lies in OUT, on digits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny import same_bits, state_of

from prunelle.classwise import call
from prunelle.classwise import member as member_file
from prunelle.classwise import split as split_file
from prunelle.classwise.member import Job, Making, run_of
from prunelle.classwise.split import Found, MemberFound, Trial, distinct, outputs_of, run_for, standing
from prunelle.data.groups import Balanced
from prunelle.data.load import load_task
from prunelle.errors import CorruptFileError, ModelError, RunConflictError, SettingError
from prunelle.files import read_sealed_json
from prunelle.measure.card import count
from prunelle.models.members import Calibration, Members
from prunelle.models.open import open_model
from prunelle.models.save import load
from prunelle.recipes import classwise_figures, classwise_told, classwising
from prunelle.recipes.classwise import RETRAINING, TO_THE_END, ClasswiseRecipe
from prunelle.recipes.classwise_plan import plan_classwise
from prunelle.recipes.classwise_resnet20 import classwise_resnet20
from prunelle.recipes.classwise_told import summary, table, tell, write_files
from prunelle.recipes.classwise_words import groups_for
from prunelle.recipes.classwising import Asked, Split, run_classwise, task_for
from prunelle.recipes.names import RECIPES, recipe_from_file, recipe_of, shifted
from prunelle.recipes.settings import Training
from prunelle.recipes.sweeping import Here
from prunelle.recipes.words import train_settings
from prunelle.train import loop
from prunelle.train import step as train_step

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.usefixtures("one_thread")
LOW, HIGH = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)


def recipe(**changed: Any) -> ClasswiseRecipe:
    told = {
        "name": "small",
        "model": "lenet5_small",
        "data": "digits",
        "dense": Training(epochs=3, lr=5e-3),
        "groups": (LOW, (5, 6, 7), (8,), (9,)),
        "groupings": ("given",),
        "training": Training(epochs=2, lr=2e-3, distill=0.5),
        "look_images": 320,
    }
    return ClasswiseRecipe(**told | changed)


def untimed(split: Split, asked: Asked) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [], [{"latency_ms": None, "latency_runtime": None} for _ in split.joined.members]


def quiet(what: str, share: float) -> None:
    assert what and 0 <= share <= 1


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    """Members are made in this process, and no clock is read: workers and clocks have tests of their own."""

    @contextmanager
    def engine(asked: Asked, shop: Any) -> Iterator[Here]:
        yield Here(shop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classwising, "engine_of", engine)
        patch.setattr(classwise_figures, "timed", untimed)
        yield


def run(made: ClasswiseRecipe, out: Path) -> tuple[Split, dict[str, Any]]:
    asked = Asked(out, 1, command="typed")
    split = run_classwise(made, asked, quiet)
    return split, tell(split, asked, quiet)


@pytest.fixture(scope="module")
def done(here: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Split, dict[str, Any]]:
    """(OUT, what came of it, its figures): four members, two of them of one class."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("classwise") / "out"
    try:
        return out, *run(recipe(), out)
    finally:
        torch.set_num_threads(threads)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def explode(*_: object, **__: object) -> None:
    raise AssertionError("something was made again")


def answers(model: torch.nn.Module, task: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = (torch.cat(parts) for parts in zip(*task.test.epoch(64), strict=True))
    with torch.no_grad():
        return model(images).argmax(1), targets


def test_out_is_a_model_whose_accuracy_is_the_one_told(done):
    out, split, found = done
    opened = open_model(str(out))
    assert isinstance(opened.model, Members) and opened.model.groups == (LOW, (5, 6, 7), (8,), (9,))
    assert opened.class_names == load_task("digits").class_names
    given, targets = answers(opened.model, load_task("digits"))
    assert (given == targets).double().mean().item() == found["combined"]["top1"] == split.best.top1 > 0.2
    assert found["combined"]["num_test"] == len(targets) == sum(map(sum, found["confusion"]))
    assert sum(found["confusion"][c][c] for c in range(10)) == int((given == targets).sum())
    wrong = found["combined"]["num_wrong_within"] + found["combined"]["num_wrong_group"]
    assert wrong == int((given != targets).sum())
    assert found["combined"]["top1_low"] < found["combined"]["top1"] < found["combined"]["top1_high"]


def test_every_member_is_small_and_a_model_of_its_own(done):
    out, split, found = done
    whole = found["whole"]
    for number, row in enumerate(found["members"]):
        alone = load(out / "members" / str(number))
        assert same_bits(state_of(alone), state_of(split.joined.members[number]))
        card = count("m", alone, (1, 8, 8))
        assert (row["macs"], row["params"]) == (card.macs, card.params)
        assert 0 < row["macs_share"] == row["macs"] / whole["macs"] <= 0.5
        assert row["classes"] == [str(c) for c in split.best.trial.groups[number]]
        told = json.loads((out / "members" / str(number) / "candidates.json").read_text())
        assert told["classes"] == row["classes"] and told["data"] == split.task.fingerprint
    assert found["combined"]["macs"] == sum(row["macs"] for row in found["members"])
    assert found["combined"]["macs_largest"] == max(row["macs"] for row in found["members"])
    widths = {row["channels"] for row in found["rows"] if row["layer"] == "conv2"}
    assert len(found["rows"]) == 4 * 4 and len(widths) >= 1


def test_tables_and_words_say_what_was_found(done, tmp_path):
    out, split, found = done
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    files = write_files(split, found, Asked(copied, 1))
    assert {Path(file["path"]).name for file in files} >= {"report.html", "rows.csv", "members.csv"}
    assert all(Path(file["path"]).stat().st_size == file["bytes"] > 0 for file in files)
    assert len((copied / "rows.csv").read_text().splitlines()) == 17
    assert len(json.loads((copied / "members.json").read_text())) == 4
    shown = table(found)
    assert len(shown) == 4 and shown[2][1] == "8" and shown[0][5:7] == ("not timed", "2 of 2")
    (first, *_) = summary(found)
    assert first.startswith(f"together {100 * found['combined']['top1']:.2f} % on 400 test images")


def test_a_second_start_does_nothing_and_tells_the_same(done, monkeypatch):
    out, _, found = done
    before = files_of(out)
    monkeypatch.setattr(member_file, "make_member", explode)
    monkeypatch.setattr(member_file, "plan_member", explode)
    monkeypatch.setattr(classwising, "execute", explode)
    monkeypatch.setattr(classwise_told, "measured", explode)
    assert run(recipe(), out)[1] == found
    assert files_of(out) == before


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Figures without the place where they lie."""
    return found | {"combined": {name: value for name, value in found["combined"].items() if name != "path"}}


@pytest.mark.parametrize("left", ["a member", "a member's cut", "the joint network"])
def test_a_killed_run_goes_on_to_the_same_figures(done, tmp_path, left):
    out, split, found = done
    other = tmp_path / "out"
    shutil.copytree(out, other)
    (other / "result.json").unlink()
    (other / "model.json").unlink()
    if left != "the joint network":
        folder = other / split.best.members[1].folder.relative_to(out).parent
        (folder / "card.json").unlink()
        shutil.rmtree(folder / "network")
        (folder / "outputs.checkpoint").unlink()
        if left == "a member":
            (folder / "metrics.jsonl").unlink()
    again, figures = run(recipe(), other)
    assert told(figures) == told(found)
    assert [one.history for one in again.best.members] == [one.history for one in split.best.members]
    for name in ("model.safetensors", "model.json", "members/1/model.safetensors", "members/1/candidates.json"):
        assert (other / name).read_bytes() == (out / name).read_bytes()


def test_what_was_cut_and_trained_before_a_kill_is_not_made_again(done, tmp_path, monkeypatch):
    out, split, found = done
    other = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(member_file, "finish", explode)
        with pytest.raises(AssertionError):
            run(recipe(), other)
    cut, trained = [], []
    with monkeypatch.context() as patch:
        plan, step = member_file.plan_member, train_step.update_
        patch.setattr(member_file, "plan_member", lambda *given: (cut.append(given), plan(*given))[1])
        patch.setattr(loop, "update_", lambda *given: (trained.append(given), step(*given))[1])
        assert told(run(recipe(), other)[1]) == told(found)
    # Of four members one stood but for its last words.
    assert len(cut) == 3
    each = [Balanced(split.task.train, one.group) for one in split.best.members]
    updates = [2 * one.num_batches(128, drop_last=True) for one in each]
    assert len(trained) == sum(updates[1:])
    assert (other / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_a_member_that_lost_its_outputs_is_told(done, tmp_path):
    out, split, _ = done
    other = tmp_path / "out"
    shutil.copytree(out, other)
    folder = other / split.best.members[0].folder.relative_to(out).parent
    (folder / "outputs.checkpoint").unlink()
    with pytest.raises(CorruptFileError, match=r"holds no outputs; delete it and start the same command again\.$"):
        run(recipe(), other)


def test_another_recipe_in_the_same_folder_is_refused_and_nothing_is_written(done):
    out, _, _ = done
    before = files_of(out)
    with pytest.raises(
        RunConflictError, match=r"holds a class-wise network of other settings; choose another --out\.$"
    ):
        run(recipe(target_macs=0.4), out)
    assert files_of(out) == before


def test_a_folder_of_someone_elses_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunConflictError, match=r"is not empty and holds no classwise\.json; choose another folder"):
        run(recipe(), tmp_path)
    assert files_of(tmp_path) == {"letter.txt": b"dear"}


def test_a_member_is_the_same_whatever_its_fellows(done, tmp_path):
    _, split, _ = done
    other, _ = run(recipe(groups=(LOW, HIGH)), tmp_path / "out")
    first, second = split.best.members[0], other.best.members[0]
    assert first.group == second.group == LOW
    assert first.folder.parent.name == second.folder.parent.name
    for name in ("model.safetensors", "model.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert first.history == second.history and len(first.history) == 2


def test_a_members_folder_is_named_by_all_that_makes_it(done, tmp_path):
    _, split, _ = done
    making, named = split.shop.making, split.shop.named

    def name(job: Job, how: Making = making, of: Any = named) -> str:
        return run_of(job, tmp_path, how, of).folder.name

    other = Making(making.cutting, None)
    names = [name(Job((0, 1), 0)), name(Job((0, 2), 0)), name(Job((0, 1), 1)), name(Job((0, 1), 0), other)]
    names.append(name(Job((0, 1), 0), making, {**named, "whole": "other weights"}))
    assert len(set(names)) == 5 and name(Job((0, 1), 0)) == names[0]


def test_groupings_and_seeds_are_compared_and_equal_members_are_made_once(tmp_path):
    made = recipe(
        groups=2,
        groupings=("random", "consecutive", "kmeans"),
        seeds=(0, 1),
        training=None,
        as_one=True,
        repair=(),
        target_macs=0.6,
    )
    split, found = run(made, tmp_path / "out")
    assert [(row["grouping"], row["seed"]) for row in found["trials"]] == [
        (word, seed) for word in ("random", "consecutive", "kmeans") for seed in (0, 1)
    ]
    assert found["trials"][2]["groups"] == found["trials"][3]["groups"] == [list(LOW), list(HIGH)]
    assert [row["grouping"] for row in found["groupings"]] == ["random", "consecutive", "kmeans"]
    for row in found["groupings"]:
        own = [one["top1"] for one in found["trials"] if one["grouping"] == row["grouping"]]
        assert row["mean"] == pytest.approx(sum(own) / 2) and row["low"] <= row["mean"] <= row["high"]
    assert found["groupings"][0]["gain"] is None
    random = [one["top1"] for one in found["trials"][:2]]
    gains = [one["top1"] - by for one, by in zip(found["trials"][4:], random, strict=True)]
    assert found["groupings"][2]["gain"] == pytest.approx(sum(gains) / 2)
    best = max(found["trials"], key=lambda row: row["val_top1"])
    assert found["grouping"] == best["grouping"] and found["combined"]["top1"] == best["top1"]
    # Nothing was trained: no epochs to save; the control is one network of the same size.
    assert found["saved"] is None and all(row["epochs"] == 0 for row in found["members"])
    assert found["one"]["epochs"] == 0 and found["one"]["macs"] <= 0.6 * found["whole"]["macs"]
    made_once = distinct([one.trial for one in split.trials])
    assert len(made_once) == len(set(made_once)) <= 12
    assert standing([one.trial for one in split.trials], split.shop) == (
        f"{len(made_once)} of {len(made_once)} members",
        1.0,
    )
    assert len(list((tmp_path / "out" / "runs").iterdir())) == len(made_once) + 2


def test_early_stopping_is_told(tmp_path):
    made = recipe(
        groups=(LOW, HIGH), training=Training(epochs=6, lr=1e-9, patience=1, distill=0.0), repair=(), target_macs=0.8
    )
    _, found = run(made, tmp_path / "out")
    epochs = [(row["epochs"], row["epochs_saved"]) for row in found["members"]]
    assert epochs == [(2, 4), (2, 4)]
    assert found["saved"] == {"epochs": 4, "epochs_saved": 8, "share": 8 / 12}


def test_what_early_stopping_costs_is_measured_and_changes_no_member(tmp_path):
    training = Training(epochs=5, lr=2e-3, patience=1, min_gain=0.05, distill=0.5)
    plain, _ = run(recipe(groups=(LOW, HIGH), training=training), tmp_path / "plain")
    made = recipe(groups=(LOW, HIGH), training=training, audit=True)
    split, found = run(made, tmp_path / "audited")
    assert same_bits(state_of(split.joined), state_of(plain.joined))
    assert [(one.epochs, one.epochs_saved) for one in split.best.members] == [
        (one.epochs, one.epochs_saved) for one in plain.best.members
    ]
    assert any(one.epochs_saved for one in split.best.members)
    assert all(len(one.history) == 5 for one in split.best.members)
    whole, _ = run(recipe(groups=(LOW, HIGH), training=training.model_copy(update=NEVER)), tmp_path / "whole")
    (end,) = split.ends
    for group in (LOW, HIGH):
        outputs, _ = outputs_of(run_for(Job(group, 0), split.shop))
        wanted, _ = outputs_of(run_for(Job(group, 0), whole.shop))
        for part in ("val", "test"):
            assert torch.equal(outputs[f"end_{part}"], wanted[part])
    assert [one.epochs for one in end.members] == [5, 5]
    assert [one.test_top1 for one in end.members] == [one.test_top1 for one in whole.best.members]
    left_early = [n for n, one in enumerate(split.best.members) if one.epochs_saved]
    assert any(end.members[n].test_top1 != split.best.members[n].test_top1 for n in left_early)
    assert end.top1 == whole.best.top1 and end.val_top1 == whole.best.val_top1 and plain.ends == ()
    assert found["saved"]["cost"] == end.top1 - split.best.top1 and found["saved"]["cost_low"] is None
    assert any("trained to the end all the same, members answer" in line for line in summary(found))
    before = files_of(tmp_path / "audited")
    assert run(made, tmp_path / "audited")[1] == found and files_of(tmp_path / "audited") == before


NEVER = {"patience": None, "min_gain": 0.0}


def test_members_are_cut_from_one_network_for_all_classes_and_taught_by_the_whole(tmp_path, monkeypatch):
    asked_whom = []
    real = split_file.asked

    def listening(teacher: torch.nn.Module, *rest: Any) -> torch.Tensor:
        asked_whom.append(count("teacher", teacher, (1, 8, 8)).macs)
        return real(teacher, *rest)

    monkeypatch.setattr(split_file, "asked", listening)
    made = recipe(groups=(LOW, HIGH), shared_macs=0.7, target_macs=0.4, as_one=True)
    out = tmp_path / "out"
    split, found = run(made, out)
    whole, shared = found["whole"]["macs"], split.shop.whole.open()
    assert asked_whom == [whole]
    assert 0.4 * whole < found["shared"]["macs"] == count("shared", shared, (1, 8, 8)).macs <= 0.7 * whole
    assert found["shared"]["epochs"] == 2 and 0.1 < found["shared"]["top1"] <= 1
    widths = dict(layer_widths(shared))
    for number, row in enumerate(found["members"]):
        assert row["macs_share"] == row["macs"] / whole <= 0.4
        member = dict(layer_widths(load(out / "members" / str(number))))
        assert all(member[name] <= widths[name] for name in ("conv1", "conv2", "fc1")) and member != widths
        told = json.loads((out / "members" / str(number) / "candidates.json").read_text())
        assert sum(line["channels"] for line in told["sets"]) == sum(widths.values()) - 10
    kept = load(out / "shared")
    assert same_bits(state_of(kept), state_of(shared)) and (out / "shared" / "candidates.json").exists()
    assert found["one"]["macs"] <= 0.4 * whole
    assert any("Members were cut from one network for all classes" in line for line in summary(found))
    given, targets = answers(open_model(str(out)).model, load_task("digits"))
    assert (given == targets).double().mean().item() == found["combined"]["top1"] > 0.2
    before = files_of(out)
    monkeypatch.setattr(split_file, "asked", explode)
    assert run(made, out)[1] == found and files_of(out) == before


def test_members_of_a_shared_network_go_on_after_a_kill(tmp_path):
    made = recipe(groups=(LOW, HIGH), shared_macs=0.7, target_macs=0.4)
    out = tmp_path / "out"
    split, found = run(made, out)
    (out / "result.json").unlink()
    shutil.rmtree(run_for(split.best.trial.jobs[1], split.shop).folder)
    assert told(run(made, out)[1]) == told(found)


def test_the_presets_of_words_and_of_values_are_one() -> None:
    values = replace(call.RETRAINING, checkpoint_seconds=9.0)
    assert train_settings(RETRAINING, 9.0) == values and RETRAINING.distill == call.MAKING.distill


def test_the_ready_made_recipes_take_the_preset_where_members_may_leave() -> None:
    made = classwise_resnet20(weights="w", epochs=6, lr=0.01, patience=3).training
    assert made == RETRAINING.model_copy(update={"epochs": 6, "lr": 0.01, "patience": 3})
    stays = classwise_resnet20(weights="w", epochs=6, lr=0.01).training
    assert stays == TO_THE_END.model_copy(update={"epochs": 6, "lr": 0.01})
    assert (TO_THE_END.schedule, TO_THE_END.average_epochs, TO_THE_END.restore_best) == ("cosine", 0.0, True)


def test_what_early_stopping_costs_by_hand() -> None:
    """Two trials of a member each: 3 of 10 epochs left out, better by 1 and by 3 points at the end."""

    def found(top1: float, epochs: int, seed: int) -> Found:
        member = MemberFound((0,), Path("m"), 0.5, 0.5, epochs, 5 - epochs, (), 1.0, 0.0)
        return Found(Trial("random", seed, ((0,),)), (member,), Calibration.none(1), 0.5, top1, 0.0, 1.0, 10, None)

    left, end = [found(0.9, 4, 0), found(0.8, 3, 1)], [found(0.91, 5, 0), found(0.83, 5, 1)]
    told = classwise_figures.saved(left, end)
    assert (told["epochs"], told["epochs_saved"], told["share"]) == (7, 3, 0.3)
    # The mean is 2 points, its standard error 1, and t at 95 % with one degree of freedom 12.706.
    assert told["cost"] == pytest.approx(0.02) and told["cost_high"] == pytest.approx(0.02 + 0.12706, abs=1e-4)
    assert classwise_told.early(told) == (
        "early stopping would have left out 3 member-epochs, 30%; trained to the end all the same, members answer "
        "+2.00 points better together [-10.71, +14.71]."
    )
    alone = classwise_figures.saved(left[:1], end[:1])
    assert alone["cost_low"] is alone["cost_high"] is None and classwise_told.early(alone).endswith(
        "+1.00 points better together."
    )
    assert "cost" not in classwise_figures.saved(left)


def test_a_shared_network_that_is_not_cut_is_trained_on_and_the_teacher_asked_at_each_update(tmp_path):
    made = recipe(
        groups=(LOW, HIGH),
        shared_macs=1.0,
        shared_training=Training(epochs=3, lr=2e-3, distill=0.5),
        target_macs=0.5,
        views=0,
    )
    _, found = run(made, tmp_path / "out")
    assert found["shared"]["macs"] == found["whole"]["macs"] and found["shared"]["epochs"] == 3
    assert all(row["macs_share"] <= 0.5 and row["epochs"] == 2 for row in found["members"])


def weighed(model: torch.nn.Module) -> list[Any]:
    return [part for part in model.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)]


def layer_widths(model: torch.nn.Module) -> list[tuple[str, int]]:
    return [(name, part.weight.shape[0]) for name, part in model.named_modules() if part in weighed(model)]


def test_thresholds_instead_of_a_target(tmp_path):
    made = recipe(groups=(LOW, HIGH), target_macs=None, score="activity", apoz=0.5, mean=0.8, training=None)
    _, found = run(made, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "members" / "0" / "candidates.json").read_text())
    assert told["thresholds"] == {"apoz": 0.5, "mean": 0.8} and told["floor"] == 2
    for line in told["sets"]:
        assert line["apoz"] is None or (line["apoz"] > 0.5 and line["mean"] < 0.8)
        assert line["channels"] - line["removed"] >= 2
    assert found["combined"]["top1"] > 0


def test_choosing_on_half_of_the_test_split_and_on_few_images():
    task = load_task("digits")
    half = task_for(recipe(choose_on="test-half", train_images=100), Asked(Path("out"), 1))
    assert (len(half.train), len(half.val), len(half.test)) == (100, 200, 200)
    assert torch.equal(half.train.labels, task.train.labels[:100])
    assert torch.equal(torch.cat([half.val.labels, half.test.labels]), task.test.labels)
    assert len({half.fingerprint, task.fingerprint, task_for(recipe(), Asked(Path("out"), 1)).fingerprint}) == 2


@pytest.mark.parametrize(
    "changed, error, text",
    [
        (
            {"groups": 11, "groupings": ("kmeans",)},
            SettingError,
            "--groups 11: must be 2 to 10, the number of classes.",
        ),
        (
            {"groups": (LOW, (5, 6, 7, 8))},
            SettingError,
            "--groups: 9 classes are named, digits has 10; name each once.",
        ),
        ({"groups": (LOW, (5, 6, 7, 9))}, ModelError, "groups are 0,1,2,3,4/5,6,7,9, must hold each class from 0 on"),
        ({"groups": (LOW, (4, *HIGH))}, ModelError, "must hold each class from 0 on once"),
        ({"groups": ((*LOW, *HIGH),)}, SettingError, "--groups 1: must be 2 to 10"),
        ({"groups": (LOW, (*HIGH, 10))}, SettingError, "--groups: 11 classes are named, digits has 10"),
    ],
)
def test_groups_that_do_not_fit_the_data_are_refused_before_anything_is_written(tmp_path, changed, error, text):
    with pytest.raises(error) as caught:
        run(recipe(**changed), tmp_path / "out")
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"groups": 2}, "classes go with 'given' alone"),
        ({"groupings": ("kmeans",)}, "classes go with 'given' alone"),
        ({"groups": 1, "groupings": ("kmeans",)}, "greater than or equal to 2"),
        ({"seeds": (1, 1)}, "name each once"),
        ({"runtimes": ("eager", "eager")}, "name each once"),
        ({"target_macs": None}, "give one target, or both thresholds"),
        ({"apoz": 0.5, "mean": 1.0}, "give one target, or both thresholds"),
        ({"target_latency": 0.5}, "give one target, or both thresholds"),
        ({"target_macs": None, "target_latency": 0.5, "target_ms": 3.0}, "give one target, or both thresholds"),
        ({"target_macs": None, "target_ms": 3.0, "score": "activity"}, "which a target of time cannot follow"),
        ({"target_macs": None, "target_latency": 1.5}, "less than 1"),
        ({"target_macs": None, "apoz": 0.5, "mean": 1.0}, "set score to activity"),
        ({"target_macs": 1.5}, "less than or equal to 1"),
        ({"target_macs": 0.0}, "greater than 0"),
        ({"shared_macs": 0.4}, "must be above target_macs, 0.5"),
        ({"shared_macs": 0.5}, "must be above target_macs, 0.5"),
        ({"shared_macs": 0.7, "training": None}, "goes with training alone"),
        ({"shared_macs": 0.7, "target_macs": None, "target_latency": 0.5}, "take target_ms or target_macs"),
        ({"shared_macs": 1.5}, "less than or equal to 1"),
        ({"audit": True}, "audit is true and no member can leave early; set patience, or leave it out"),
        ({"shared_training": Training(epochs=3)}, "shared_training is of the network that shared_macs asks for"),
        ({"shared_macs": 0.7, "shared_training": Training(label_smoothing=0.1)}, "label_smoothing is not for members"),
        ({"training": Training(epochs=1, label_smoothing=0.1)}, "label_smoothing is not for members"),
        ({"dense": Training(epochs=1, distill=0.5)}, "it has no teacher"),
        ({"groupings": ("sorted",)}, "Input should be"),
        ({"grups": 2}, "Extra inputs are not permitted"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(changed, text):
    with pytest.raises(ValidationError, match=text):
        recipe(**changed)


def test_a_dry_run_writes_nothing_and_tells_the_groups_that_will_be(tmp_path):
    asked = Asked(tmp_path / "out", 1)
    planned = plan_classwise(recipe(as_one=True), asked, quiet)
    assert not list(tmp_path.iterdir())
    assert planned["groups"] == [list("01234"), list("567"), ["8"], ["9"]]
    assert (planned["num_trainings"], planned["member_epochs"], planned["workers"]) == (5, 10, 1)
    assert planned["minutes"] > 0 and planned["disk_bytes"] > 0
    assert plan_classwise(recipe(training=None), asked, quiet)["minutes"] == 0.0
    longer = plan_classwise(recipe(shared_macs=0.7, shared_training=Training(epochs=5)), asked, quiet)
    assert (longer["num_trainings"], longer["member_epochs"]) == (5, 13)
    more = plan_classwise(recipe(shared_macs=0.7, as_one=True), asked, quiet)
    assert (more["num_trainings"], more["member_epochs"]) == (6, 12) and more["disk_bytes"] > planned["disk_bytes"]


def test_groups_are_a_function_of_what_is_alike_and_the_seed(done):
    _, split, _ = done
    alike, features = split.similarities["features"], None
    found = [groups_for("random", 2, alike, features, seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert groups_for("given", ((1, 0), (2,)), alike, features, 0) == ((1, 0), (2,))
    look = read_sealed_json(split.shop.out / "look.json")
    assert look["features"] == alike.tolist() and len(look["candidates"]) == 10
    assert Trial("given", 3, ((0,), (1, 2))).jobs == [Job((0,), 3), Job((1, 2), 3)]


CLASSWISE = [name for name in RECIPES if name.startswith("classwise_")]


@pytest.mark.parametrize("name", CLASSWISE)
def test_named_recipes_are_whole_and_can_be_written_down(name, tmp_path):
    made = recipe_of(name, {})
    assert isinstance(made, ClasswiseRecipe) and made.name == name and made.dense is not None
    assert recipe_of(name, {"weights": "w.safetensors"}).dense is None
    assert shifted(made, 5).seeds == tuple(seed + 5 for seed in made.seeds)
    path = tmp_path / "own.json"
    path.write_text(made.model_dump_json())
    assert recipe_from_file(path) == made
    with pytest.raises(SettingError, match=f"^--set grups: {name} has no such setting, did you mean 'groups'"):
        recipe_of(name, {"grups": 3})


def test_there_is_a_recipe_for_each_of_three_networks():
    assert CLASSWISE == ["classwise_resnet20", "classwise_mobilenetv2", "classwise_vgg19"]


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"kind": "classy", "name": "a"}))
    with pytest.raises(SettingError, match="kind is 'classy', must be 'tickets' or 'classwise'; leave it out"):
        recipe_from_file(path)


@pytest.mark.parametrize(
    "groups, text",
    [
        (1, "groups is 1, must be at least 2; correct it."),
        ([[0, 1], [2, "x"]], "groups.1.1 is 'x', must be a whole number; correct it."),
        ([[0], []], "groups.1 is [], must be a list of at least 1; correct it."),
        ("two", "groups is 'two', must be a whole number; correct it."),
    ],
)
def test_groups_that_are_neither_a_number_nor_classes(groups, text, tmp_path):
    path = tmp_path / "own.json"
    told = {"kind": "classwise", "name": "a", "model": "lenet5", "data": "digits", "groups": groups}
    path.write_text(json.dumps(told))
    with pytest.raises(SettingError) as caught:
        recipe_from_file(path)
    assert str(caught.value) == f"{path}: {text}"
