"""What an experiment will cost, from a pilot: a few updates and one evaluation of each network on random images."""

from __future__ import annotations

from pathlib import Path

import torch

from prunelle.data.task import Task
from prunelle.measure.latency import time_interleaved
from prunelle.models.open import open_model
from prunelle.recipes.execute import tasks_of
from prunelle.recipes.plan import Place, PlannedRun, plan
from prunelle.recipes.settings import Cell, Recipe, Training
from prunelle.recipes.words import train_settings
from prunelle.train.losses import Plain
from prunelle.train.step import Update, init_state, update_

PILOT_SECONDS = 0.5
PILOT_UPDATES = 3
EVAL_COST = 1 / 3
"""A forward pass costs about a third of an update."""
MEASURE_MINUTES = 2 / 60
"""Loading, evaluating and timing one small network, by experience."""
PAGE_BYTES = 5_000_000
"""The report, nearly all of it plotly's own script."""
BYTES_PER_PARAM = 16
"""Weights, two optimizer moments and the best snapshot in a checkpoint."""


def estimate(recipe: Recipe, place: Place) -> dict:
    """{num_runs, num_steps, minutes, disk_bytes, workers, threads, runs: [...]} of the runs a recipe needs.

    Raises DataError, ModelError, WeightsError, SettingError.
    """
    tasks = tasks_of(recipe, place)
    planned = plan(recipe, {data: task.fingerprint for data, task in tasks.items()})
    pilots: dict[tuple, tuple[float, int]] = {}
    runs: list[dict] = []
    for one in planned:
        cell, task = one.cell, tasks[one.cell.data]
        words = trainings(one)
        batch = words[0].batch_size if words else 128
        key = (cell.model, cell.weights, cell.data, batch)
        if key not in pilots:
            pilots[key] = pilot(cell, task, words[0] if words else Training(), place)
        seconds_per_image, params = pilots[key]
        steps = sum(w.epochs * task.train.num_batches(w.batch_size, drop_last=True) for w in words)
        images = sum(w.epochs * (len(task.train) + EVAL_COST * len(task.val)) for w in words) + EVAL_COST * (
            len(task.val) + len(task.test)
        )
        runs.append(
            {
                "run": cell.label,
                "variant": one.variant,
                "seed": one.seed,
                "steps": steps,
                "minutes": images * seconds_per_image / 60,
                "disk_bytes": params * 4,
            }
        )
    return {
        "num_runs": len(runs),
        "num_steps": sum(r["steps"] for r in runs),
        # Measuring is done afterwards, one by one.
        "minutes": sum(r["minutes"] for r in runs) / place.workers + len(runs) * MEASURE_MINUTES,
        "disk_bytes": sum(r["disk_bytes"] for r in runs)
        + place.workers * max(p for _, p in pilots.values()) * BYTES_PER_PARAM
        + PAGE_BYTES,
        "workers": place.workers,
        "threads": place.threads,
        "runs": runs,
    }


def trainings(planned: PlannedRun) -> list[Training]:
    """The trainings a run goes through."""
    if planned.dense is None:
        return [planned.cell.dense] if planned.cell.dense else []
    found: list[Training] = []
    for stage in planned.cell.stages:
        training = getattr(stage, "training", None)  # those that only cut have none
        found += [training] * getattr(stage, "rounds", 1) if training else []
    return found


def pilot(cell: Cell, task: Task, words: Training, place: Place) -> tuple[float, int]:
    """(seconds an image of training takes, params) of a cell's network."""
    known = Path(cell.model).is_dir()
    opened = open_model(
        cell.model,
        weights=cell.weights,
        input_shape=None if known else task.input_shape,
        num_classes=None if known else task.num_classes,
        trust=place.trust,
    )
    model = opened.model.to(place.device).train()
    settings = train_settings(words, place.checkpoint_seconds)
    rule = Update(Plain(task.loss), settings.optimizer, settings.precision)
    state = init_state(model, settings.optimizer)
    size = min(words.batch_size, len(task.train))
    batch = (
        torch.rand(size, *task.input_shape, device=place.device),
        torch.zeros(size, dtype=torch.int64, device=place.device),
    )
    (timing,) = time_interleaved(
        [lambda: update_(model, state, batch, rule, 1e-6, 0)],
        device=place.device,
        threads=place.threads,
        min_seconds=PILOT_SECONDS,
        min_samples=PILOT_UPDATES,
    )
    return timing.median_ms / 1e3 / size, sum(p.numel() for p in model.parameters())
