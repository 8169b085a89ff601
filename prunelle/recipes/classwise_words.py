"""The words of a class-wise recipe as values: how members are made, and which groups are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelle.classwise.activity import Similarity
from prunelle.classwise.cutting import Cutting
from prunelle.classwise.grouping import Grouping, consecutive, dissimilar, kmeans, random, similar
from prunelle.classwise.look import Look
from prunelle.classwise.member import Making
from prunelle.classwise.split import Trial
from prunelle.models.members import Groups, checked
from prunelle.prune.latency_target import Target
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.words import CHANNEL_SCOPES, CHANNEL_SCORES, REPAIRS, train_settings
from prunelle.seeds import derive
from prunelle.ship.eager import eager
from prunelle.ship.runtimes import load_runtime
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings

GROUPINGS: Mapping[str, Grouping] = {
    "random": random,
    "similar": similar,
    "dissimilar": dissimilar,
    "kmeans": kmeans,
    "consecutive": consecutive,
}
ADAM_LR = 1e-3


def making_of(recipe: ClasswiseRecipe, network: nn.Module, checkpoint_seconds: float) -> Making:
    """How members are cut and trained. network: the whole one."""
    training, latency = recipe.training, latency_of(recipe)
    return Making(
        cutting=Cutting(
            target_macs=recipe.target_macs,
            latency=latency,
            runtime=eager if latency is None else load_runtime(recipe.runtimes[0]),
            score=None if recipe.score == "activity" else CHANNEL_SCORES[recipe.score],
            scope=CHANNEL_SCOPES[recipe.scope],
            keep_residual=recipe.keep_residual,
            apoz=recipe.apoz,
            mean=recipe.mean,
            zero=recipe.zero,
            floor=recipe.floor,
            multiple=recipe.multiple,
        ),
        training=None if training is None else settings_for(recipe, network, checkpoint_seconds),
        distill=0.0 if training is None else training.distill,
        temperature=4.0 if training is None else training.temperature,
        views=recipe.views,
        repairs=tuple(REPAIRS[word] for word in recipe.repair),
    )


def shared_making(recipe: ClasswiseRecipe, network: nn.Module, checkpoint_seconds: float) -> Making:
    """How the network is made that members are cut from. network: the whole one."""
    told = dict.fromkeys(("target_latency", "target_ms", "apoz", "mean"))
    training = recipe.shared_training or recipe.training
    as_members = recipe.model_copy(
        update={**told, "target_macs": recipe.shared_macs, "training": training, "audit": False}
    )
    return making_of(as_members, network, checkpoint_seconds)


def latency_of(recipe: ClasswiseRecipe) -> Target | None:
    """How long a member may take, where that is what was asked for."""
    if recipe.target_latency is None and recipe.target_ms is None:
        return None
    return Target(ratio=recipe.target_latency, ms=recipe.target_ms)


def similarities(look: Look) -> dict[str, Similarity]:
    return {"features": look.similarity, "candidates": look.overlap}


def settings_for(recipe: ClasswiseRecipe, network: nn.Module, checkpoint_seconds: float) -> TrainSettings:
    """How members are trained; where the recipe says adapt, a network without batch norm by Adam."""
    assert recipe.training is not None
    found = train_settings(recipe.training, checkpoint_seconds)
    if recipe.audit and found.early_stop is not None:
        found = replace(found, early_stop=replace(found.early_stop, audit=True))
    normed = any(isinstance(module, _BatchNorm) for module in network.modules())
    return found if normed or not recipe.adapt else replace(found, optimizer=Adam(), lr=ADAM_LR)


def trials_of(recipe: ClasswiseRecipe, look: Look) -> list[Trial]:
    """Each grouping with each seed; one that gives the same groups and seed twice stands twice, and is made once."""
    alike = similarities(look)[recipe.similarity]
    return [
        Trial(word, seed, groups_for(word, recipe.groups, alike, look.features, seed))
        for word in recipe.groupings
        for seed in recipe.seeds
    ]


def groups_for(
    word: str,
    groups: int | Sequence[Sequence[int]],
    alike: Similarity,
    features: NDArray[np.float64],
    seed: int,
) -> Groups:
    if not isinstance(groups, int):
        return checked(groups)
    return GROUPINGS[word](alike, features, groups, np.random.default_rng(derive(seed, "grouping", word)))
