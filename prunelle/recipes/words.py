"""The one table where words become values: from recipes/settings.py to steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from prunelle.prune.by_gradient import magnitude_times_gradient
from prunelle.prune.by_weight import magnitude, random
from prunelle.prune.select import Scope, over_all, per_layer
from prunelle.prune.statistics import Score
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain
from prunelle.recipes.settings import GradualStage, PruneStage, RetrainStage, Stage, Training
from prunelle.schedules import Schedule, constant, cosine, cubic, linear, stairs
from prunelle.steps import Step
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.precision import BF16, FP16, FP32, Precision
from prunelle.train.settings import EarlyStop, Teacher, TrainSettings

SCORES: Mapping[str, Score] = {
    "magnitude": magnitude,
    "random": random,
    "magnitude_times_gradient": magnitude_times_gradient,
}
SCOPES: Mapping[str, Scope] = {"global": over_all, "layer": per_layer}
SHAPES: Mapping[str, Schedule] = {"constant": constant, "linear": linear, "cubic": cubic}
SCHEDULES: Mapping[str, Schedule] = {"constant": constant, "cosine": cosine, "stairs": stairs}
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
        early_stop=EarlyStop(words.patience, words.target) if stops else None,
        best_from=words.best_from,
        checkpoint_seconds=checkpoint_seconds,
    )


def step(stage: Stage, name: str, dense: nn.Module, checkpoint_seconds: float) -> Step:
    """The step that a stage means. dense: the teacher, where the stage distils."""
    if isinstance(stage, PruneStage):
        return PruneWeights(stage.sparsity, SCORES[stage.score], SCOPES[stage.scope], name)
    if isinstance(stage, RetrainStage):
        return Retrain(train_settings(stage.training, checkpoint_seconds, dense), name)
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
