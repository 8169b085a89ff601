"""What an epoch of training will cost here, and in which number type it is cheaper, from a few updates.

This plans a search and reports no speed, so a few calls on a clock do: the timer takes thirty.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

import torch

from prunelle.data.task import Task
from prunelle.engines.local import num_cores
from prunelle.fit.networks import Brought, settings_for
from prunelle.measure.macs import MACS_FOR_THREADS, count_macs
from prunelle.train.losses import objective
from prunelle.train.precision import BF16, FP32, Precision
from prunelle.train.settings import TrainSettings
from prunelle.train.step import Update, init_state, update_

SECONDS = 0.5
"""Of updates in each number type, after one to warm up; at least two."""
WORTH = 1.1
"""How much faster bfloat16 must be to be taken."""
EVAL_COST = 1 / 3
"""A forward pass costs about a third of an update."""
WORDS = {"fp32": FP32, "bf16": BF16}


@dataclass(frozen=True)
class Pilot:
    """epoch_seconds: training and one look at the validation split. precision: of training, a key of WORDS. threads: of
    training."""

    epoch_seconds: float
    precision: str
    threads: int


def pilot(brought: Brought, task: Task, threads: int | None = None) -> Pilot:
    """Updates of the network on training images. Small networks train in float32 with one thread, whatever is faster
    now, so that two searches train alike; others in both number types, with all threads and with one: where other work
    goes on, several wait for each other. threads: take these instead. The thread count is put back."""
    settings = settings_for(brought.model, task)
    size = min(settings.batch_size, len(task.train))
    batch = next(iter(task.train.epoch(size)))
    small = is_small(brought, task)
    counts = dict.fromkeys([1, 1 if small else num_cores()] if threads is None else [threads])
    before, found = torch.get_num_threads(), {}
    try:
        for count in counts:
            torch.set_num_threads(count)
            for word in ("fp32",) if small else WORDS:
                own = replace(settings, precision=WORDS[word])
                try:
                    found[word, count] = seconds_a_call(one_update(brought, task, own, batch))
                except RuntimeError:
                    if word == "fp32":
                        raise  # another number type that a module or a loss does not bear is left alone
    finally:
        torch.set_num_threads(before)
    word, count = min(found, key=lambda key: found[key] * (WORTH if key[0] != "fp32" else 1.0))
    updates = task.train.num_batches(size, drop_last=True) + EVAL_COST * len(task.val) / size
    return Pilot(found[word, count] * updates, word, count)


def is_small(brought: Brought, task: Task) -> bool:
    """Below MACS_FOR_THREADS, where several threads wait for each other more than they work."""
    weight = next(brought.model.parameters(), torch.empty(0))
    macs = count_macs(brought.model, torch.zeros(1, *task.input_shape, dtype=weight.dtype)).total
    return macs < MACS_FOR_THREADS


def seconds_a_call(call: Callable[[], object]) -> float:
    """The fastest of a few: whatever else runs here only adds."""
    call()
    found: list[float] = []
    while len(found) < 2 or sum(found) < SECONDS:
        begun = monotonic()
        call()
        found.append(monotonic() - begun)
    return min(found)


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
