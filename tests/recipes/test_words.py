from collections.abc import Mapping
from typing import get_args

import pytest
import torch
from torch import nn

from prunelle.prune.block_steps import RemoveBlocks
from prunelle.prune.by_weight import random
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair
from prunelle.prune.channel_scores import geometric_median
from prunelle.prune.channel_select import over_all_sets
from prunelle.prune.channel_steps import PruneChannels, PruneChannelsGradually
from prunelle.prune.group_sparse import GroupSparse
from prunelle.prune.latency_steps import PruneToLatency
from prunelle.prune.latency_target import Target
from prunelle.prune.select import per_layer
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
    ScopeWord,
    ScoreWord,
    Training,
)
from prunelle.recipes.words import OPTIMIZERS, PRECISIONS, SCHEDULES, SCOPES, SCORES, SHAPES, step, train_settings
from prunelle.schedules import linear, stairs
from prunelle.ship.eager import eager
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import BF16
from prunelle.train.settings import EarlyStop

TEACHER = nn.Linear(1, 1)


def words_of(kind: type, name: str) -> tuple[str, ...]:
    return get_args(kind.model_fields[name].annotation)


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (get_args(ScoreWord), SCORES),
        (get_args(ScopeWord), SCOPES),
        (words_of(GradualStage, "shape"), SHAPES),
        (words_of(Training, "schedule"), SCHEDULES),
        (words_of(Training, "precision"), PRECISIONS),
        (words_of(Training, "optimizer"), OPTIMIZERS),
    ],
)
def test_every_word_has_a_value_and_every_value_a_word(words: tuple, table: Mapping) -> None:
    assert set(words) == set(table)
    assert len({id(value) for value in table.values()}) == len(table)


def test_every_field_of_a_training_reaches_the_settings() -> None:
    words = Training(
        epochs=7, lr=0.5, batch_size=3, optimizer="sgd", momentum=0.25, weight_decay=0.125, schedule="stairs",
        warmup_epochs=2, label_smoothing=0.1, precision="bf16", patience=4, min_gain=0.01, target=0.75,
        restore_best=False, best_from=0.5, average_epochs=0.25, distill=0.3, temperature=2,
    )  # fmt: skip
    assert words.model_fields_set == set(Training.model_fields)
    made = train_settings(words, 9.0, TEACHER)
    assert (made.epochs, made.lr, made.batch_size, made.warmup_epochs, made.label_smoothing) == (7, 0.5, 3, 2, 0.1)
    assert made.optimizer == Sgd(0.25, 0.125)
    assert made.schedule is stairs
    assert made.precision is BF16
    assert made.early_stop == EarlyStop(4, 0.75, 0.01, False)
    assert (made.best_from, made.average_epochs, made.checkpoint_seconds) == (0.5, 0.25, 9.0)
    assert made.teacher is not None
    assert (made.teacher.model, made.teacher.temperature, made.teacher.weight) == (TEACHER, 2, 0.3)


def test_what_is_not_asked_for_is_not_there() -> None:
    made = train_settings(Training(), 20.0, TEACHER)
    assert (made.teacher, made.early_stop, made.optimizer) == (None, None, Adam(weight_decay=0.0))


def test_adamw_is_adam_with_decay_beside_the_gradient() -> None:
    assert OPTIMIZERS["adamw"](Training(weight_decay=0.5)) == Adam(weight_decay=0.5, decoupled=True)


def test_stages_become_steps() -> None:
    at_once = step(PruneStage(sparsity=0.5, score="random", scope="layer"), "0-prune", TEACHER, 20.0)
    assert at_once == PruneWeights(0.5, random, per_layer, "0-prune")

    retrain = step(RetrainStage(training=Training(distill=0.5)), "1-retrain", TEACHER, 3.0)
    assert isinstance(retrain, Retrain)
    assert (retrain.name, retrain.settings.checkpoint_seconds) == ("1-retrain", 3.0)
    assert retrain.settings.teacher is not None and retrain.settings.teacher.model is TEACHER

    words = {"sparsity": 0.9, "score": "random", "scope": "layer", "shape": "linear"}
    window = {"begin": 0.1, "end": 0.5, "frequency": 3}
    gradual = step(GradualStage(**words, **window, training=Training(epochs=2)), "2-gradual", TEACHER, 20.0)
    assert isinstance(gradual, PruneGradually)
    assert (gradual.sparsity, gradual.score, gradual.scope, gradual.shape) == (0.9, random, per_layer, linear)
    assert (gradual.begin, gradual.end, gradual.frequency, gradual.name) == (0.1, 0.5, 3, "2-gradual")
    assert gradual.settings.epochs == 2


def test_stages_that_cut_become_steps() -> None:
    words = {"score": "fpgm", "scope": "global", "floor": 3, "multiple": 4, "skip": ("a",), "repair": ("lsq", "bn")}
    cut = step(ChannelsStage(amount=0.4, of="macs", **words), "0-channels", TEACHER, 20.0)
    told = {
        "of": "macs",
        "score": geometric_median,
        "scope": over_all_sets,
        "floor": 3,
        "multiple": 4,
        "skip": ("a",),
        "repairs": (least_squares_repair, batch_norm_repair),
    }
    assert cut == PruneChannels(0.4, **told, name="0-channels")

    rounds = GradualChannelsStage(amount=0.4, of="macs", rounds=3, training=Training(epochs=2), **words)
    gradual = step(rounds, "1-gradual_channels", TEACHER, 20.0)
    assert isinstance(gradual, PruneChannelsGradually)
    assert gradual == PruneChannelsGradually(0.4, 3, gradual.settings, **told, name="1-gradual_channels")
    assert gradual.settings.epochs == 2

    latency = LatencyStage(
        ms=3, batch=2, threads=2, multiples=(8,), **{k: v for k, v in words.items() if k != "multiple"}
    )
    timed = step(latency, "l", TEACHER, 20.0)
    named = {k: v for k, v in told.items() if k not in ("of", "multiple")}
    assert timed == PruneToLatency(Target(ms=3), eager, 2, 2, (8,), **named, name="l")

    sparse = step(GroupSparseStage(strength=0.5, skip=("a",), training=Training()), "2", TEACHER, 20.0)
    assert isinstance(sparse, GroupSparse) and (sparse.strength, sparse.skip, sparse.name) == (0.5, ("a",), "2")

    blocks = step(BlocksStage(macs=0.25, repair=()), "3", TEACHER, 20.0)
    assert blocks == RemoveBlocks(macs=0.25, repairs=(), name="3")


def test_stages_that_quantize_become_steps() -> None:
    rounded = step(QuantizeStage(bits=4, per_channel=False), "0-quantize", TEACHER, 20.0)
    assert rounded == QuantizeWeights(4, per_channel=False, name="0-quantize")
    learnt = step(QatStage(bits=3, per_channel=False, training=Training(epochs=2, distill=0.5)), "1", TEACHER, 20.0)
    assert isinstance(learnt, QuantizationAwareTraining)
    assert learnt == QuantizationAwareTraining(3, learnt.settings, per_channel=False, name="1")
    assert learnt.settings.teacher is not None and learnt.settings.epochs == 2


def test_each_score_takes_what_pruning_gives_it() -> None:
    weight = torch.tensor([[1.0, -2.0]])
    assert SCORES["magnitude"](weight).tolist() == [[1.0, 2.0]]
