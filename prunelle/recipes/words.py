"""The one table where words become values: from recipes/settings.py to steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from prunelle.prune.block_steps import RemoveBlocks
from prunelle.prune.by_gradient import magnitude_times_gradient
from prunelle.prune.by_weight import magnitude, random, unit_magnitude
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair
from prunelle.prune.channel_scores import (
    apoz,
    batch_norm_scale,
    geometric_median,
    l1_norm,
    l2_norm,
    mean_activation,
    taylor,
)
from prunelle.prune.channel_scores import random as random_channel
from prunelle.prune.channel_select import ChannelScope, over_all_sets, per_set
from prunelle.prune.channel_select import per_layer as per_tied_layer
from prunelle.prune.channel_shares import by_cost
from prunelle.prune.channel_steps import PruneChannels, PruneChannelsGradually, Repair
from prunelle.prune.group_sparse import GroupSparse
from prunelle.prune.latency_steps import PruneToLatency
from prunelle.prune.latency_target import Target
from prunelle.prune.select import Scope, over_all, per_layer
from prunelle.prune.statistics import Score
from prunelle.prune.unit_scores import RowScore
from prunelle.prune.weight_shares import by_cost as by_cost_of_weights
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain
from prunelle.quantize.ptq import QuantizeWeights
from prunelle.quantize.qat import QuantizationAwareTraining
from prunelle.recipes.settings import (
    BlocksStage,
    ChannelsStage,
    GradualChannelsStage,
    GradualStage,
    GroupSparseStage,
    LatencyStage,
    PruneStage,
    QatStage,
    QuantizeStage,
    RetrainStage,
    Stage,
    Training,
    UnitWords,
)
from prunelle.schedules import Schedule, constant, cosine, cubic, exponential, linear, stairs
from prunelle.ship.runtimes import load_runtime
from prunelle.steps import Step
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.precision import BF16, FP16, FP32, Precision
from prunelle.train.settings import EarlyStop, Teacher, TrainSettings

SCORES: Mapping[str, Score] = {
    "magnitude": magnitude,
    "random": random,
    "magnitude_times_gradient": magnitude_times_gradient,
    "unit_magnitude": unit_magnitude,
}
SCOPES: Mapping[str, Scope] = {"global": over_all, "layer": per_layer, "cost": by_cost_of_weights}
CHANNEL_SCORES: Mapping[str, RowScore] = {
    "l2": l2_norm,
    "l1": l1_norm,
    "fpgm": geometric_median,
    "bn_scale": batch_norm_scale,
    "taylor": taylor,
    "apoz": apoz,
    "activation": mean_activation,
    "random": random_channel,
}
REPAIRS: Mapping[str, Repair] = {"bn": batch_norm_repair, "lsq": least_squares_repair}
CHANNEL_SCOPES: Mapping[str, ChannelScope] = {
    "set": per_set,
    "layer": per_tied_layer,
    "global": over_all_sets,
    "cost": by_cost,
}
SHAPES: Mapping[str, Schedule] = {"constant": constant, "linear": linear, "cubic": cubic}
SCHEDULES: Mapping[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "stairs": stairs,
    "exponential": exponential,
}
PRECISIONS: Mapping[str, Precision] = {"fp32": FP32, "bf16": BF16, "fp16": FP16}
OPTIMIZERS: Mapping[str, Callable[[Training], Optimizer]] = {
    "sgd": lambda t: Sgd(t.momentum, t.weight_decay),
    "adam": lambda t: Adam(weight_decay=t.weight_decay),
    "adamw": lambda t: Adam(weight_decay=t.weight_decay, decoupled=True),
}


def train_settings(words: Training, checkpoint_seconds: float, teacher: nn.Module | None = None) -> TrainSettings:
    """The settings that the words mean. teacher: used when words.distill is above 0."""
    stops = words.patience is not None or words.target is not None
    taught = teacher is not None and words.distill > 0
    return TrainSettings(
        epochs=words.epochs,
        lr=words.lr,
        batch_size=words.batch_size,
        optimizer=OPTIMIZERS[words.optimizer](words),
        schedule=SCHEDULES[words.schedule],
        warmup_epochs=words.warmup_epochs,
        label_smoothing=words.label_smoothing,
        precision=PRECISIONS[words.precision],
        teacher=Teacher(teacher, words.temperature, words.distill) if taught and teacher is not None else None,
        early_stop=EarlyStop(words.patience, words.target, words.min_gain, words.restore_best) if stops else None,
        best_from=words.best_from,
        average_epochs=words.average_epochs,
        checkpoint_seconds=checkpoint_seconds,
    )


def step(stage: Stage, name: str, dense: nn.Module, checkpoint_seconds: float) -> Step:
    """The step that a stage means. dense: the teacher, where the stage distils."""
    if isinstance(stage, PruneStage):
        return PruneWeights(stage.sparsity, SCORES[stage.score], SCOPES[stage.scope], name)
    if isinstance(stage, RetrainStage):
        return Retrain(train_settings(stage.training, checkpoint_seconds, dense), name)
    if isinstance(stage, ChannelsStage):
        return PruneChannels(stage.amount, **channel_words(stage), name=name)
    if isinstance(stage, GradualChannelsStage):
        settings = train_settings(stage.training, checkpoint_seconds, dense)
        return PruneChannelsGradually(stage.amount, stage.rounds, settings, **channel_words(stage), name=name)
    if isinstance(stage, LatencyStage):
        return PruneToLatency(
            target=Target(stage.ratio, stage.ms),
            runtime=load_runtime(stage.runtime),
            batch_size=stage.batch,
            threads=stage.threads,
            multiples=stage.multiples,
            **unit_words(stage),
            name=name,
        )
    if isinstance(stage, GroupSparseStage):
        settings = train_settings(stage.training, checkpoint_seconds, dense)
        return GroupSparse(stage.strength, settings, stage.skip, name)
    if isinstance(stage, BlocksStage):
        return RemoveBlocks(stage.macs, stage.num, repairs=tuple(REPAIRS[word] for word in stage.repair), name=name)
    if isinstance(stage, QuantizeStage):
        return QuantizeWeights(stage.bits, stage.per_channel, name=name)
    if isinstance(stage, QatStage):
        settings = train_settings(stage.training, checkpoint_seconds, dense)
        return QuantizationAwareTraining(stage.bits, settings, per_channel=stage.per_channel, name=name)
    assert isinstance(stage, GradualStage)
    return PruneGradually(
        sparsity=stage.sparsity,
        settings=train_settings(stage.training, checkpoint_seconds, dense),
        score=SCORES[stage.score],
        scope=SCOPES[stage.scope],
        shape=SHAPES[stage.shape],
        begin=stage.begin,
        end=stage.end,
        frequency=stage.frequency,
        name=name,
    )


def channel_words(stage: ChannelsStage | GradualChannelsStage) -> dict[str, Any]:
    """What both steps that cut a share are told."""
    return {"of": stage.of, "multiple": stage.multiple, **unit_words(stage)}


def unit_words(stage: UnitWords) -> dict[str, Any]:
    """What every step that cuts channels is told."""
    return {
        "score": CHANNEL_SCORES[stage.score],
        "scope": CHANNEL_SCOPES[stage.scope],
        "floor": stage.floor,
        "skip": stage.skip,
        "repairs": tuple(REPAIRS[word] for word in stage.repair),
    }
