import json
from pathlib import Path

import pytest
import torch

from prunelle.cli.main import answer
from prunelle.errors import BusyError, DivergedError, RunConflictError, WorkError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.models.open import open_model
from prunelle.models.save import read_folder, save
from prunelle.recipes import cards, experiment
from prunelle.recipes.cards import DETERMINISTIC
from prunelle.recipes.execute import diverged, open_run, task_of
from prunelle.recipes.experiment import Finished, check_converged, run_experiment
from prunelle.recipes.outcome import report
from prunelle.recipes.plan import plan
from prunelle.recipes.reopen import reopen
from prunelle.runs import held
from prunelle.train.ddp import Ranks

from .small import at_once, cell, place, recipe

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
SMALL = recipe(cell(), at_once())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    out = tmp_path_factory.mktemp("experiment") / "out"
    finished = run_experiment(SMALL, place(out))
    assert finished is not None
    return out, finished


def stamps(out: Path) -> dict[str, tuple[int, bytes]]:
    """When each file of the runs was written, and what stands in it."""
    files = [path for path in out.glob("runs/**/*") if path.is_file()]
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_dense_network_is_trained_once_and_every_run_has_a_row_and_a_card(made) -> None:
    out, finished = made
    assert [row["variant"] for row in finished.rows] == ["dense", "pruned", "pruned"]
    dense, gradual, pruned = finished.rows
    assert gradual["dense_id"] == pruned["dense_id"] == dense["id"]
    assert json.loads((out / "cards.json").read_text()) == finished.cards
    assert [card["id"] for card in finished.cards] == [row["id"] for row in finished.rows]
    # 64 * 300 + 300 * 100 + 100 * 10 weights are prunable, 410 biases are not.
    assert [row["nnz"] for row in finished.rows] == [50_610, 50_610 - round(0.8 * 50_200), 50_610 - 25_100]
    assert all(row[name] is not None for row in finished.rows for name in DETERMINISTIC)


def test_only_what_is_of_use_stays(made) -> None:
    out, _ = made
    run = {"settings.json", "metrics.jsonl", "trained.json", "card.json", "lock", "model"}
    for folder in (out / "runs").iterdir():
        assert {path.name for path in folder.iterdir()} - {"progress"} == run
        assert {path.name for path in (folder / "model").iterdir()} == {"model.json", "model.safetensors"}
    named = {"recipe.json", "runs", "model.json", "model.safetensors", "cards.json", ".lock"}
    assert {path.name for path in out.iterdir()} == named


def test_a_second_start_does_nothing(made) -> None:
    out, finished = made
    before = stamps(out)
    again = run_experiment(SMALL, place(out))
    assert stamps(out) == before
    assert again is not None and again.rows == finished.rows


def test_another_recipe_in_the_same_folder_is_refused(made) -> None:
    out, _ = made
    with pytest.raises(RunConflictError) as caught:
        run_experiment(recipe(cell(), at_once(), seeds=(1,)), place(out))
    assert str(caught.value) == (
        f"{out}: holds a run of another recipe or of other settings; choose another folder with --out."
    )


def test_a_folder_that_is_worked_on_is_refused(made) -> None:
    out, _ = made
    with held(out / ".lock"), pytest.raises(BusyError, match="another process is at work there"):
        run_experiment(SMALL, place(out))


def test_what_killed_writers_left_goes_with_the_next_start(made) -> None:
    out, finished = made
    folder = out / "runs" / finished.rows[1]["id"]
    left = [folder / "model" / ".model.json.next.7.tmp", folder / ".card.json.7.tmp", out / ".cards.json.7.tmp"]
    for path in left:
        path.touch()
    run_experiment(SMALL, place(out))
    assert not any(path.exists() for path in left)


def test_the_folder_loads_as_the_best_pruned_network_on_val(made) -> None:
    out, finished = made
    best = max(finished.rows[1:], key=lambda row: (row["val_top1"], -row["nnz"]))
    opened = open_model(str(out))
    saved = read_folder(out / "runs" / best["id"] / "model")[1]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in opened.model.state_dict().items())
    assert opened.preprocessing == task_of("digits", None, "cpu").preprocessing
    assert len(opened.class_names) == 10


def test_workers_make_what_one_process_makes(made, tmp_path: Path) -> None:
    _, finished = made
    dense = run_experiment(recipe(cell(stages=()), seeds=(0, 1)), place(tmp_path / "o", workers=2))
    assert dense is not None
    columns = [name for name in DETERMINISTIC if name != "run"]
    assert [dense.rows[0][name] for name in columns] == [finished.rows[0][name] for name in columns]


def test_a_finished_experiment_is_read_again(made) -> None:
    out, finished = made
    found, again, where = reopen(out, None, False)
    assert found == SMALL
    assert (again.rows, again.chosen) == (finished.rows, finished.chosen)
    assert where.out == out


def test_an_interrupted_experiment_reports_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = cards.measure_run
    measured: list[str] = []

    def interrupted(planned, where) -> None:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measure(planned, where)
        measured.append(planned.variant)

    monkeypatch.setattr(experiment, "measure_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(SMALL, place(tmp_path / "o", command="prunelle run small"))
    found, again, where = reopen(tmp_path / "o", None, False)
    told = report(found, again, where)
    assert [row["variant"] for row in told.rows] == ["dense", "pruned"]
    assert told.files == [] and told.commands[0] == "prunelle run small"


def test_nothing_done_is_nothing_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(planned, where) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "measure_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(recipe(cell(stages=())), place(tmp_path / "o"))
    with pytest.raises(WorkError, match="no run is finished yet"):
        reopen(tmp_path / "o", None, False)


def test_a_run_that_diverges_is_marked_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = cell().dense.model_copy(update={"optimizer": "sgd", "lr": 100.0})
    both = recipe(cell("wild", dense=wild), cell("tame"))
    out, file = tmp_path / "o", tmp_path / "both.json"
    file.write_text(both.model_dump_json())

    def quickly(found, where, watch):
        return run_experiment(found, place(where.out, workers=1), watch)

    monkeypatch.setattr(experiment, "run_experiment", quickly)
    assert answer(["run", str(file), "--out", str(out), "--workers", "1"]) == 1
    complaint = capsys.readouterr().err

    _, finished, where = reopen(out, None, False)
    assert [(row["run"], row["variant"], row["diverged"]) for row in finished.rows] == [
        ("wild", "dense", True),
        ("tame", "dense", False),
        ("wild", "pruned", True),
        ("tame", "pruned", False),
    ]
    assert finished.chosen.cell.label == "tame"
    ids = [row["id"] for row in finished.rows if row["diverged"]]
    assert complaint == (
        f"prunelle: 2 of 4 runs diverged ({', '.join(ids)}); their last good weights are kept and marked; try a "
        "smaller learning rate in another --out.\n"
    )
    assert [diverged(open_run(one, where)) for one in finished.runs] == [True, False, True, False]
    with pytest.raises(DivergedError):
        check_converged(finished)


def test_a_recipe_is_claimed_with_its_data(made) -> None:
    out, _ = made
    claim = read_sealed_json(out / "recipe.json")
    assert claim == {
        "recipe": SMALL.model_dump(mode="json"),
        "data": {"digits": task_of("digits", None, "cpu").fingerprint},
        "brought": {},
        "command": "",
    }


def test_a_folder_is_read_again_when_the_weights_it_began_with_are_gone(tmp_path: Path) -> None:
    save(open_model("lenet_300_100", input_shape=(1, 8, 8)).model, tmp_path / "source")
    brought = tmp_path / "source" / "model.safetensors"
    where = place(tmp_path / "out")
    assert run_experiment(recipe(cell(weights=str(brought), dense=None)), where)
    brought.unlink()
    _, finished, _ = reopen(where.out, None, False)
    assert [r["variant"] for r in finished.rows] == ["dense", "pruned"]


def test_ranks_share_each_run_and_start_no_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict] = []
    monkeypatch.setattr(experiment, "join", lambda device: Ranks(1, 2))
    monkeypatch.setattr(experiment, "execute", made.append)
    monkeypatch.setattr(experiment, "run_jobs", lambda *_: pytest.fail("a rank started workers"))
    planned = plan(recipe(cell(stages=()), seeds=(0, 1)), {"digits": "f"})
    experiment.train_all(planned, place(tmp_path, workers=2), "training", lambda what, share: None)
    assert [job["planned"].seed for job in made] == [0, 1]


def test_a_claim_without_its_data_is_refused(tmp_path: Path) -> None:
    where = place(tmp_path / "out")
    where.out.mkdir()
    write_sealed_json(where.out / "recipe.json", {"recipe": SMALL.model_dump(mode="json")})
    with pytest.raises(RunConflictError, match="was begun on other data or weights of the same name"):
        run_experiment(SMALL, where)
