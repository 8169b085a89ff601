"""The recipes behind `prunelle train` and `prunelle prune`: one cell, one seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prunelle.errors import SettingError
from prunelle.models.names import Shape
from prunelle.recipes.complaint import sentence
from prunelle.recipes.settings import Cell, ChannelsStage, GradualStage, PruneStage, Recipe, Training

Made = TypeVar("Made", bound=BaseModel)
NAMED = ("data", "weights", "epochs", "sparsity", "score", "scope", "of", "floor", "multiple", "skip", "repair")
OPTIONS = {"model": "MODEL", "amount": "--channels"} | {name: f"--{name}" for name in NAMED}


def made(kind: type[Made], values: Mapping[str, Any]) -> Made:
    """kind(**values), its complaint as one sentence. Raises SettingError."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingError(f"{sentence(error, kind, option)}.") from None


def option(place: str) -> str:
    """A setting as it is typed."""
    return OPTIONS.get(place.split(".")[0], f"--set {place}")


def training_of(epochs: int, settings: Mapping[str, Any]) -> Training:
    """Training from --epochs and --set. Raises SettingError."""
    if "epochs" in settings:
        raise SettingError("--set epochs: is given by --epochs; pass it there.")
    return made(Training, {"epochs": epochs, **settings})


def train_recipe(
    model: str,
    data: str,
    weights: str | None,
    input_shape: Shape | None,
    epochs: int,
    seed: int,
    settings: Mapping[str, Any],
) -> Recipe:
    """Train `model`. settings: further fields of Training."""
    training = training_of(epochs, settings)
    brought = {"model": model, "data": data, "weights": weights, "input_shape": input_shape}
    cell = made(Cell, {"label": "train", **brought, "dense": training})
    return Recipe(name="train", cells=(cell,), seeds=(seed,))


def prune_recipe(
    model: str,
    data: str,
    weights: str | None,
    input_shape: Shape | None,
    sparsity: float,
    score: str,
    scope: str,
    epochs: int,
    seed: int,
    settings: Mapping[str, Any],
) -> Recipe:
    """Take `model` as it is and prune it; over `epochs` of training, or at once when 0."""
    words = {"sparsity": sparsity, "score": score, "scope": scope}
    stage: GradualStage | PruneStage
    if epochs == 0:
        stage = made(PruneStage, words)
        if settings:
            raise SettingError(f"--set {next(iter(settings))}: there is no training with --epochs 0; leave it out.")
    else:
        stage = made(GradualStage, {**words, "training": training_of(epochs, settings)})
    label = f"{sparsity:.4g} {score} {scope}"
    brought = {"model": model, "data": data, "weights": weights, "input_shape": input_shape}
    cell = made(Cell, {"label": label, **brought, "stages": (stage,)})
    return Recipe(name="prune", cells=(cell,), seeds=(seed,))


def channels_stage(words: Mapping[str, Any]) -> ChannelsStage:
    """The stage that the options of `prune --channels` mean; what is None keeps its default. Raises SettingError."""
    return made(ChannelsStage, {name: value for name, value in words.items() if value is not None})
