"""What a class-wise split would make, and about how long it takes, from a few updates."""

from __future__ import annotations

import copy
from dataclasses import replace
from time import monotonic
from typing import Any

import torch
from torch import nn

from prunelle.classwise.answers import views_held
from prunelle.classwise.head import wide_member_of
from prunelle.classwise.look import Look, look_at
from prunelle.classwise.member import Job, Making, head_batches
from prunelle.classwise.member_task import member_task
from prunelle.data.task import Task
from prunelle.measure.accuracy import EVAL_BATCH
from prunelle.measure.params import count_params
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwise_words import making_of, trials_of
from prunelle.recipes.classwising import Asked, Watch, task_for
from prunelle.recipes.measure import open_with_data
from prunelle.seeds import derive
from prunelle.train.losses import objective
from prunelle.train.step import Update, init_state, update_

UPDATES = 3
LOOK_IMAGES = 2_000
"""Fewer than the split itself looks at, unless the recipe says fewer."""
EVAL_COST = 1 / 3
"""A forward pass costs about a third of an update."""


def plan_classwise(recipe: ClasswiseRecipe, asked: Asked, watch: Watch) -> dict[str, Any]:
    """{groups (class names, of the first trial), num_trainings, member_epochs (of all trainings), minutes, workers,
    disk_bytes}.

    Nothing is written. An uncut member is timed, so that the minutes are an upper bound; the training of a network that
    is not trained yet is not in them, and its groups are those of random weights. Raises as `run_classwise`.
    """
    watch("looking at classes", 0.0)
    task = task_for(recipe, asked)
    opened, _ = open_with_data(
        recipe.model,
        recipe.data,
        asked.data_dir,
        asked.device,
        weights=recipe.weights,
        input_shape=recipe.input_shape,
        trust=asked.trust,
        seed=recipe.seeds[0],
    )
    num_images = min(LOOK_IMAGES, recipe.look_images)
    plain = replace(task, train=task.train.to("cpu"))
    look = look_at(opened.model, plain, recipe.zero, num_images, recipe.seeds[0])
    trials = trials_of(recipe, look)
    jobs = list(dict.fromkeys(job for trial in trials for job in trial.jobs))
    epochs = recipe.training.epochs if recipe.training else 0
    watch("timing an update", 0.5)
    making = making_of(recipe, opened.model, asked.checkpoint_seconds)
    beforehand = asked_beforehand(making, task)
    seconds = epoch_seconds(making, task, opened.model, look, jobs[0].group, not beforehand) if epochs else 0.0
    own = len(member_task(task, jobs[0].group).train)
    asking = asking_seconds(opened.model, task, making, beforehand)
    everyone = Job(tuple(range(task.num_classes)), recipe.seeds[0])
    beside = [*jobs, *([everyone] if recipe.as_one else [])]
    first = [] if recipe.shared_macs is None else [everyone]

    def epoch_of(wanted: list[Job]) -> float:
        return sum(seconds * len(member_task(task, job.group).train) / own for job in wanted)

    num, shared_epochs = len(beside) + len(first), recipe.shared_training.epochs if recipe.shared_training else epochs
    spent = epoch_of(first) * shared_epochs + epoch_of(beside) * epochs / min(asked.workers, len(beside))
    return {
        "groups": [[task.class_names[number] for number in group] for group in trials[0].groups],
        "num_trainings": num,
        "member_epochs": len(beside) * epochs + len(first) * shared_epochs,
        "minutes": (spent + asking) / 60,
        "workers": asked.workers,
        "disk_bytes": 4 * (count_params(opened.model).params * 2 * num + beforehand * task.num_classes),
    }


def asked_beforehand(making: Making, task: Task) -> int:
    """How many images the whole network is asked about before members train; 0 where it is asked at each update."""
    return len(task.train) * views_held(task.train, making.num_views, task.num_classes)


@torch.no_grad()
def asking_seconds(whole: nn.Module, task: Task, making: Making, num_images: int) -> float:
    """Of `whole` for so many images, in this process, on the CPU."""
    if not num_images or making.training is None:
        return 0.0
    images, _ = next(iter(task.val.to("cpu").epoch(EVAL_BATCH)))
    times = []
    with making.training.precision.autocast(images.device):
        for _ in range(UPDATES):
            begun = monotonic()
            whole.eval()(images)
            times.append(monotonic() - begun)
    return min(times) * num_images / len(images)


def epoch_seconds(
    making: Making, task: Task, whole: nn.Module, look: Look, group: tuple[int, ...], taught: bool
) -> float:
    """Of one uncut member, a look at val among it, with one thread. taught: its teacher's part too."""
    assert making.training is not None
    own = member_task(task, group)
    member = wide_member_of(whole, look.head, group, head_batches(task, 0)[:1]).train()
    settings = making.training
    if taught:
        settings = making.settings(copy.deepcopy(whole), group, task.num_classes)
    batch = next(iter(own.train.epoch(settings.batch_size)))
    rule = Update(objective(own, settings, torch.device("cpu")), settings.optimizer, settings.precision)
    state = init_state(member, settings.optimizer)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for number in range(UPDATES):
            begun = monotonic()
            update_(member, state, batch, rule, 1e-6, derive(0, number))
            times.append(monotonic() - begun)
    finally:
        torch.set_num_threads(before)
    updates = own.train.num_batches(settings.batch_size, drop_last=True)
    return min(times[1:]) * (updates + EVAL_COST * len(own.val) / settings.batch_size)
