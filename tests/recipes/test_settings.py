from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from prunelle.recipes.lottery import TicketRecipe
from prunelle.recipes.settings import (
    BlocksStage,
    Cell,
    ChannelsStage,
    GradualChannelsStage,
    GradualStage,
    GroupSparseStage,
    LatencyStage,
    PruneStage,
    QatStage,
    QuantizeStage,
    Recipe,
    RetrainStage,
    Training,
)

from .small import ONCE, cell, recipe

TRAINING = {"epochs": 1}
VALID: dict[type[BaseModel], dict[str, Any]] = {
    Training: TRAINING,
    PruneStage: {"sparsity": 0.5},
    RetrainStage: {"training": TRAINING},
    GradualStage: {"sparsity": 0.5, "training": TRAINING},
    ChannelsStage: {"amount": 0.5},
    GradualChannelsStage: {"amount": 0.5, "rounds": 2, "training": TRAINING},
    LatencyStage: {"ratio": 0.5},
    GroupSparseStage: {"strength": 0.1, "training": TRAINING},
    BlocksStage: {"num": 2},
    QuantizeStage: {"bits": 4},
    QatStage: {"bits": 4, "training": TRAINING},
    Cell: {"label": "a", "model": "lenet5", "data": "digits"},
    Recipe: {"name": "a", "cells": [{"label": "a", "model": "lenet5", "data": "digits"}], "seeds": [0]},
}


@pytest.mark.parametrize("kind", VALID)
def test_an_unknown_key_is_refused(kind: type[BaseModel]) -> None:
    kind.model_validate(VALID[kind])
    with pytest.raises(ValidationError, match="sparcity"):
        kind.model_validate({**VALID[kind], "sparcity": 0.5})


@pytest.mark.parametrize("kind", VALID)
def test_what_is_written_reads_back_the_same(kind: type[BaseModel]) -> None:
    made = kind.model_validate(VALID[kind])
    assert kind.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("kind", VALID)
def test_nothing_can_be_changed_afterwards(kind: type[BaseModel]) -> None:
    made = kind.model_validate(VALID[kind])
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, next(iter(kind.model_fields)), 0)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": "3"},
        {"epochs": True},
        {"lr": 0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"batch_size": 0},
        {"momentum": 1},
        {"optimizer": "adma"},
        {"label_smoothing": 1},
        {"epochs": 2, "warmup_epochs": 3},
    ],
)
def test_impossible_trainings_are_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        Training(**values)


@pytest.mark.parametrize("sparsity", [-0.1, 1, 1.3, float("nan"), True, "0.5"])
def test_a_sparsity_lies_in_0_to_1(sparsity: object) -> None:
    with pytest.raises(ValidationError):
        PruneStage(sparsity=sparsity)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ChannelsStage, {"amount": 1}),
        (ChannelsStage, {"amount": 0.5, "floor": 0}),
        (ChannelsStage, {"amount": 0.5, "repair": ("bn", "bn")}),
        (ChannelsStage, {"amount": 0.5, "score": "magnitude"}),
        (GradualChannelsStage, {"amount": 0.5, "rounds": 0, "training": TRAINING}),
        (LatencyStage, {}),
        (LatencyStage, {"ratio": 0.5, "ms": 3}),
        (LatencyStage, {"ratio": 1}),
        (GroupSparseStage, {"strength": -1, "training": TRAINING}),
        (BlocksStage, {}),
        (BlocksStage, {"num": 1, "macs": 0.5}),
        (BlocksStage, {"num": 0}),
        (QuantizeStage, {"bits": 1}),
        (QuantizeStage, {"bits": 9}),
        (QuantizeStage, {"bits": 4.0}),
        (QuantizeStage, {"per_channel": 1}),
        (QatStage, {"bits": 4}),
    ],
)
def test_impossible_cuts_are_refused(kind: type[BaseModel], values: dict) -> None:
    with pytest.raises(ValidationError):
        kind(**values)


@pytest.mark.parametrize("window", [{"begin": 0.7, "end": 0.6}, {"end": 0.95}])
def test_pruning_leaves_time_to_repair(window: dict) -> None:
    with pytest.raises(ValidationError):
        GradualStage(sparsity=0.5, training=ONCE, **window)


@pytest.mark.parametrize("changed", [{"cells": []}, {"seeds": []}, {"seeds": [-1]}, {"seeds": [2**31]}, {"name": ""}])
def test_impossible_recipes_are_refused(changed: dict) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({**VALID[Recipe], **changed})


def test_two_cells_need_two_labels() -> None:
    with pytest.raises(ValidationError, match="the label 'a' stands there twice"):
        recipe(cell("a"), cell("a"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"optimizer": "adam", "momentum": 0.5}, "momentum is 0.5 and adam has none; leave it out or take sgd"),
        (
            {"restore_best": False},
            "restore_best is False and nothing stops early; leave it out or set patience or target",
        ),
        ({"temperature": 2.0}, "temperature is 2.0 and distill is 0; leave it out or set distill"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(values: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Training(**values)


@pytest.mark.parametrize(
    "make",
    [
        lambda training: RetrainStage(training=training),
        lambda training: GradualStage(sparsity=0.5, training=training),
        lambda training: GroupSparseStage(strength=0.1, training=training),
        lambda training: TicketRecipe(
            name="t", model="mlp", data="digits", kept=(0.5,), rewinds=(0.0,), seeds=(0,), training=training
        ),
    ],
)
def test_weights_that_are_held_are_not_averaged(make) -> None:
    assert make(ONCE)
    with pytest.raises(ValidationError, match=r"average_epochs is 1.0 and weights are held here, such as by a mask"):
        make(ONCE.model_copy(update={"average_epochs": 1.0}))


def test_settings_that_came_later_are_not_told_at_their_defaults() -> None:
    told = Training(patience=2).model_dump()
    assert not told.keys() & {"min_gain", "restore_best", "average_epochs"}
    words = Training(patience=2, min_gain=0.1, restore_best=False, average_epochs=1.0)
    assert words.model_dump().keys() - told.keys() == {"min_gain", "restore_best", "average_epochs"}
    assert Training.model_validate(words.model_dump()) == words


def test_a_dense_network_has_no_teacher() -> None:
    with pytest.raises(ValidationError, match=r"distill is 0.5 and a dense network has no teacher; leave it out"):
        cell(dense=Training(epochs=1, distill=0.5))
