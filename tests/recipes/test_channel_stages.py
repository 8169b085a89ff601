"""Recipes that cut channels and blocks: the saved network is the cut one, whatever came before and after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prunelle.errors import WorkError
from prunelle.models.save import load, read_folder
from prunelle.prune import latency_steps
from prunelle.prune.channels import plan_channels
from prunelle.prune.latency_target import LatencyPlan, Look, Target
from prunelle.recipes.execute import MODEL, open_run
from prunelle.recipes.experiment import run_experiment
from prunelle.recipes.held import verdict_of_run
from prunelle.recipes.names import recipe_of
from prunelle.recipes.outcome import targets
from prunelle.recipes.settings import (
    BlocksStage,
    ChannelsStage,
    GradualChannelsStage,
    GroupSparseStage,
    RetrainStage,
)

from .small import ONCE, cell, place, recipe

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.usefixtures("one_thread")


def widths(model: torch.nn.Module) -> list[int]:
    return [len(p) for name, p in model.named_parameters() if name.endswith("weight")]


def test_cuts_of_several_stages_follow_each_other(tmp_path: Path) -> None:
    stages = (
        GroupSparseStage(strength=1e-3, training=ONCE),
        GradualChannelsStage(amount=0.5, rounds=2, score="fpgm", repair=("lsq",), training=ONCE),
        RetrainStage(training=ONCE),
        ChannelsStage(amount=0.5, score="taylor"),
    )
    finished = run_experiment(recipe(cell(stages=stages)), place(tmp_path / "o"))
    assert finished is not None
    dense, pruned = finished.rows
    assert widths(load(tmp_path / "o")) == [75, 25, 10] and dense["params"] == 50_610
    assert pruned["params"] == 64 * 75 + 75 + 75 * 25 + 25 + 25 * 10 + 10
    assert pruned["macs"] == 64 * 75 + 75 * 25 + 25 * 10
    again = run_experiment(recipe(cell(stages=stages)), place(tmp_path / "p"))
    assert again is not None and again.rows[1]["loss"] == pruned["loss"]


def test_a_cut_folder_is_taken_over_and_cut_further(tmp_path: Path) -> None:
    first = cell(stages=(ChannelsStage(amount=0.5),))
    run_experiment(recipe(first), place(tmp_path / "a"))
    further = cell(model=str(tmp_path / "a"), dense=None, stages=(ChannelsStage(amount=0.5, repair=("bn",)),))
    finished = run_experiment(recipe(further), place(tmp_path / "b"))
    assert finished is not None and widths(load(tmp_path / "b")) == [75, 25, 10]
    told = verdict_of_run(finished, place(tmp_path / "b"))
    assert told["ok"] and (told["channels_before"], told["channels_after"]) == (200, 100)
    assert told["params_after"] == finished.rows[1]["params"]


def test_a_network_cut_otherwise_than_planned_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = run_experiment(recipe(cell(stages=(ChannelsStage(amount=0.5),))), place(tmp_path / "o"))
    assert finished is not None
    from prunelle.recipes import held

    monkeypatch.setattr(held, "step", lambda stage, *rest: changed(stage, *rest))
    told = verdict_of_run(finished, place(tmp_path / "o"))
    assert told["ok"] is False and told["problems"][-1] == "the saved network was cut otherwise than planned"


def changed(stage: ChannelsStage, *rest):
    from prunelle.recipes.words import step

    return step(stage.model_copy(update={"score": "random"}), *rest)


def test_blocks_that_are_gone_stay_gone(tmp_path: Path) -> None:
    stages = (BlocksStage(num=1, repair=("bn",)), RetrainStage(training=ONCE))
    one = cell(model="resnet20", stages=stages, dense=None)
    finished = run_experiment(recipe(one), place(tmp_path / "o"))
    assert finished is not None
    manifest, _ = read_folder(open_run(finished.chosen, place(tmp_path / "o")).folder / MODEL)
    (gone,) = manifest.cuts.replaced
    assert isinstance(load(tmp_path / "o").get_submodule(gone.module), torch.nn.Identity)


def test_fpgm_compares_scores_from_one_dense_network(tmp_path: Path) -> None:
    settings = {"model": "lenet5_small", "data": "digits", "dense_epochs": 1, "epochs": 1, "seeds": 1}
    made = recipe_of("fpgm", settings | {"amounts": [0.5]})
    assert [one.label for one in made.cells] == ["fpgm 50%", "l2 50%", "random 50%"]
    finished = run_experiment(made, place(tmp_path / "o"))
    assert finished is not None
    assert [row["variant"] for row in finished.rows] == ["dense", "pruned", "pruned", "pruned"]
    assert len({row["params"] for row in finished.rows[1:]}) == 1
    assert finished.rows[1]["params"] < 0.5 * finished.rows[0]["params"]


def test_fpgm_knows_its_networks() -> None:
    small, large, given = (
        recipe_of("fpgm", words)
        for words in ({}, {"model": "alexnet_cifar"}, {"model": "resnet44", "weights": "w.safetensors"})
    )
    assert (small.cells[0].data, large.cells[0].data, given.cells[0].data) == ("mnist", "cifar10", "cifar10")
    assert small.cells[0].dense is not None and large.cells[0].dense is not None and given.cells[0].dense is None
    assert (small.cells[0].dense.epochs, large.cells[0].dense.epochs) == (10, 30)
    assert len(small.cells) == 9 and len(small.seeds) == 3


def test_what_was_timed_for_a_cut_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(4, 0.45, 0.58, 0.57, 0.59, 1.16, 2.0, 0.97, True)

    def plan(model, target, clock, **_):
        assert (target, len(clock.images)) == (Target(ratio=0.6), 3)
        return LatencyPlan(plan_channels(model, clock.images[:1], 0.5), (look,))

    monkeypatch.setattr(latency_steps, "plan_latency", plan)
    words = {"model": "lenet_300_100", "data": "digits", "dense_epochs": 1, "epochs": 1, "batch": 3, "repair": ["lsq"]}
    made = recipe_of("channels_latency", words | {"runtime": "eager"})
    finished = run_experiment(made, place(tmp_path / "o"))
    assert finished is not None and widths(load(tmp_path / "o")) == [150, 50, 10]
    assert targets(finished, place(tmp_path / "o")) == [
        "0.6 of the time in eager, seed 0: 3 images take 1.16 ms in eager, 0.580 (0.570 to 0.590) of the dense "
        "network's time, with 45 % of the multiply-adds."
    ]
    with pytest.raises(WorkError, match="cuts no channels first"):
        verdict_of_run(finished, place(tmp_path / "o"))
