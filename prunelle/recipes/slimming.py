"""From words to a cut network: what is asked for, opened, planned and cut. Nothing is written here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import ModelError, WorkError
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel
from prunelle.prune.channels import ChannelPlan, plan_channels
from prunelle.prune.latency_target import Clock, LatencyPlan, Target, plan_latency
from prunelle.recipes.check import open_for
from prunelle.recipes.settings import ChannelsStage, LatencyStage
from prunelle.recipes.words import CHANNEL_SCOPES, CHANNEL_SCORES
from prunelle.ship.runtimes import load_runtime

Planned = tuple[ChannelPlan, list[dict[str, Any]]]


@dataclass(frozen=True)
class Asked:
    """What a cut is asked for, in words. seed: of random weights, random scores and the proof."""

    model: str
    stage: ChannelsStage | LatencyStage
    weights: str | None = None
    input_shape: Shape | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        shape = list(self.input_shape) if self.input_shape else None
        return {"model": self.model, "weights": self.weights, "input": shape, "seed": self.seed} | {
            "stage": self.stage.model_dump(mode="json")
        }


@dataclass(frozen=True)
class Slimmed:
    """A cut that was made. model: the cut network. shape: (C, H, W). seconds: of tracing, planning and cutting.
    looks: what was timed on the way, the last one of this cut."""

    opened: OpenedModel
    shape: Shape
    plan: ChannelPlan
    model: nn.Module = field(repr=False)
    seconds: float
    looks: list[dict[str, Any]] = field(default_factory=list)


def open_asked(asked: Asked, trust: bool) -> tuple[OpenedModel, Shape]:
    """The model, and the shape of its images. Raises ModelError where nothing tells it."""
    opened = open_for(
        asked.model, None, weights=asked.weights, input_shape=asked.input_shape, trust=trust, seed=asked.seed
    )
    shape = asked.input_shape or opened.input_shape
    if shape is None:
        raise ModelError(f"{asked.model}: does not say what images it takes; pass --input C,H,W.")
    return opened, shape


def example(shape: Shape, seed: int = 0) -> Tensor:
    """(1, C, H, W): what a network is traced with."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def planned(model: nn.Module, shape: Shape, stage: ChannelsStage | LatencyStage, seed: int) -> Planned:
    """The plan that the words mean, and what was timed for it. Raises WorkError where the model cannot be cut so."""
    try:
        if isinstance(stage, LatencyStage):
            found = to_latency(model, shape, stage, seed)
            return found.plan, found.rows()
        plan = plan_channels(
            model,
            example(shape, seed),
            stage.amount,
            score=CHANNEL_SCORES[stage.score],
            scope=CHANNEL_SCOPES[stage.scope],
            of=stage.of,
            floor=stage.floor,
            multiple=stage.multiple,
            skip=stage.skip,
            seed=seed,
        )
    except ModelError as error:
        raise WorkError(str(error)) from None
    return plan, []


def to_latency(model: nn.Module, shape: Shape, stage: LatencyStage, seed: int) -> LatencyPlan:
    """Cut until a call takes as long as the words say, measured here on random images."""
    images = torch.randn(stage.batch, *shape, generator=torch.Generator().manual_seed(seed))
    return plan_latency(
        model,
        Target(stage.ratio, stage.ms),
        Clock(load_runtime(stage.runtime), images, stage.threads),
        multiples=stage.multiples,
        score=CHANNEL_SCORES[stage.score],
        scope=CHANNEL_SCOPES[stage.scope],
        floor=stage.floor,
        skip=stage.skip,
        seed=seed,
    )


def slim(opened: OpenedModel, shape: Shape, stage: ChannelsStage | LatencyStage, seed: int = 0) -> Slimmed:
    """Plan and cut; the opened model stays as it was."""
    begun = time.monotonic()
    plan, looks = planned(opened.model, shape, stage, seed)
    model = plan.apply(opened.model).eval()
    return Slimmed(opened, shape, plan, model, time.monotonic() - begun, looks)
