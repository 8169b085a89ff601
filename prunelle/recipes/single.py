"""The recipes behind `prunelle train` and `prunelle prune`: one cell, one seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prunelle.errors import SettingError
from prunelle.models.names import Shape
from prunelle.recipes.complaint import sentence
from prunelle.recipes.settings import (
    BlocksStage,
    Cell,
    ChannelsStage,
    GradualStage,
    LatencyStage,
    PruneStage,
    Recipe,
    RetrainStage,
    Stage,
    Training,
)

Made = TypeVar("Made", bound=BaseModel)
MOST_BLOCKS = 1_000
Cutting = ChannelsStage | LatencyStage | BlocksStage
NAMED = """
data weights epochs sparsity score scope of floor multiple skip repair runtime batch threads"""
OPTIONS = {name: f"--{name}" for name in NAMED.split()} | {
    "model": "MODEL",
    "amount": "--channels",
    "ratio": "--latency",
    "ms": "--latency",
    "multiples": "--multiple",
}


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


def cut_recipe(
    model: str,
    data: str,
    weights: str | None,
    input_shape: Shape | None,
    stage: Cutting,
    epochs: int,
    seed: int,
    settings: Mapping[str, Any],
) -> Recipe:
    """Take `model` as it is, cut it, and train on for `epochs` when above 0. settings: further fields of Training."""
    stages: tuple[Stage, ...] = (stage,)
    if epochs:
        stages += (RetrainStage(training=training_of(epochs, settings)),)
    elif settings:
        raise SettingError(f"--set {next(iter(settings))}: there is no training without --epochs; leave it out.")
    brought = {"model": model, "data": data, "weights": weights, "input_shape": input_shape}
    cell = made(Cell, {"label": label_of(stage), **brought, "stages": stages})
    return Recipe(name="prune", cells=(cell,), seeds=(seed,))


def label_of(stage: Cutting) -> str:
    """What is cut, in a few words."""
    if isinstance(stage, BlocksStage):
        return f"{stage.num} blocks" if stage.macs is None else f"blocks, {stage.macs:.4g} of the macs"
    if isinstance(stage, LatencyStage):
        target = f"{stage.ms:.4g} ms" if stage.ratio is None else f"{stage.ratio:.4g} of the time"
        return f"{target} in {stage.runtime} {stage.score} {stage.scope}"
    return f"{stage.amount:.4g} of the {stage.of} {stage.score} {stage.scope}"


def blocks_stage(amount: str, repair: list[str] | None) -> BlocksStage:
    """The stage that `prune --blocks` means: a whole number of blocks, or a share of the multiply-adds.

    Raises SettingError.
    """
    words: dict[str, Any] = {} if repair is None else {"repair": repair}
    if amount.isdecimal() and 0 < int(amount) <= MOST_BLOCKS:
        return made(BlocksStage, words | {"num": int(amount)})
    try:
        share = float(amount)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise SettingError(f"--blocks is {amount!r}, must be how many or, in (0, 1), a share of the MACs; correct it.")
    return made(BlocksStage, words | {"macs": share})


def latency_stage(target: str, words: Mapping[str, Any]) -> LatencyStage:
    """The stage that `prune --latency` means: '0.6x' of the dense time, or '3ms'. Raises SettingError."""
    found = re.fullmatch(r"(\d*\.?\d+)(x|ms)", target.replace(" ", "").lower())
    if found is None:
        raise SettingError(
            f"--latency is {target!r}, must be a share of the dense time such as 0.6x or a time such as 3ms; "
            "correct it."
        )
    words = {name: value for name, value in words.items() if value is not None}
    return made(LatencyStage, words | {"ratio" if found[2] == "x" else "ms": float(found[1])})


def channels_stage(words: Mapping[str, Any]) -> ChannelsStage:
    """The stage that the options of `prune --channels` mean; what is None keeps its default. Raises SettingError."""
    return made(ChannelsStage, {name: value for name, value in words.items() if value is not None})
