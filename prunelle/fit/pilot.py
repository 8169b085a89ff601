"""What an epoch of training costs here, and in which number type it is cheaper: a few updates, timed."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from prunelle.data.task import Task
from prunelle.fit.networks import Brought, settings_for
from prunelle.measure.latency import time_interleaved
from prunelle.train.losses import objective
from prunelle.train.precision import BF16, FP32, Precision
from prunelle.train.settings import TrainSettings
from prunelle.train.step import Update, init_state, update_

SECONDS, UPDATES = 1.0, 4
WORTH = 1.1
"""How much faster bfloat16 must be to be taken."""
EVAL_COST = 1 / 3
"""A forward pass costs about a third of an update."""
WORDS = {"fp32": FP32, "bf16": BF16}


@dataclass(frozen=True)
class Pilot:
    """epoch_seconds: training and one look at the validation split. precision: of training, a key of WORDS."""

    epoch_seconds: float
    precision: str


def pilot(brought: Brought, task: Task, threads: int) -> Pilot:
    """Time updates of the network in both number types, in turns, on training images."""
    settings = settings_for(brought.model, task)
    size = min(settings.batch_size, len(task.train))
    batch = next(iter(task.train.epoch(size)))
    calls = [one_update(brought, task, replace(settings, precision=WORDS[word]), batch) for word in WORDS]
    first, second = time_interleaved(calls, threads=threads, min_seconds=SECONDS, min_samples=UPDATES)
    assert second.ratio is not None
    faster = second.ratio > WORTH
    seconds = (second if faster else first).median_ms / 1e3
    epoch = seconds * (task.train.num_batches(size, drop_last=True) + EVAL_COST * len(task.val) / size)
    return Pilot(epoch, "bf16" if faster else "fp32")


def one_update(brought: Brought, task: Task, settings: TrainSettings, batch: tuple[torch.Tensor, torch.Tensor]):
    """A call without arguments: one update of a copy."""
    model = copy.deepcopy(brought.model).train()
    state = init_state(model, settings.optimizer)
    rule = Update(objective(task, settings, torch.device("cpu")), settings.optimizer, settings.precision)
    return lambda: update_(model, state, batch, rule, 1e-6, 0)


def training(brought: Brought, task: Task, word: str) -> TrainSettings:
    """How networks of this search are trained."""
    precision: Precision = WORDS[word]
    return settings_for(brought.model, task, precision)
