"""One model measured as it stands, in any runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.errors import MeasurementError, ModelError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.card import Card, count
from prunelle.measure.latency import time_interleaved
from prunelle.measure.throughput import best_throughput
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel, check_fits, open_model
from prunelle.models.save import size_bytes
from prunelle.ship.footprint import peak_memory_of_folder
from prunelle.ship.runtimes import load_runtime

SAME = 1e-3
"""Largest difference to eager, as a share of the largest output, at which a runtime still runs the same network."""


def measure_model(
    model: str,
    *,
    runtime: str = "eager",
    batch: int = 1,
    data: str | None = None,
    weights: str | None = None,
    input_shape: Shape | None = None,
    data_dir: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    seed: int = 0,
    trust: bool = False,
    full: bool = False,
) -> Card:
    """The card of a MODEL. Latency in another runtime than eager is interleaved with eager, the ratio's baseline.

    data: whose test split gives the accuracy; None leaves it null. full: also throughput and peak memory.
    Raises ModelError, WeightsError, DataError, MeasurementError and what opening the model raises.
    """
    folder = Path(model).is_dir()
    task = load_task(data, data_dir=data_dir, device=device) if data else None
    shape = input_shape or (task.input_shape if task else None)
    opened = open_model(
        model,
        weights=weights,
        input_shape=None if folder else shape,
        num_classes=None if folder or task is None else task.num_classes,
        trust=trust,
        seed=seed,
    )
    shape = shape or opened.input_shape
    if shape is None:
        raise ModelError(f"{model}: does not say what images it takes; pass --input C,H,W or --data.")
    network = opened.model.to(device)
    card = count(model, network, shape)
    if folder:
        card = dataclasses.replace(card, size_bytes=size_bytes(Path(model)))
    images = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed)).to(device)
    card = timed(card, opened, images, runtime, threads, device)
    if full:
        card = dataclasses.replace(card, throughput=throughput(opened, shape, runtime, threads, device))
        if folder and runtime == "eager" and device == "cpu" and not trust:
            card = dataclasses.replace(card, peak_memory_bytes=peak_memory_of_folder(model, batch))
    return card if task is None else with_accuracy(card, opened, model, task)


def with_accuracy(card: Card, opened: OpenedModel, name: str, task: Task) -> Card:
    """The card with top-1 on the task's test split."""
    check_fits(opened, name, task)
    return card.with_accuracy(evaluate(opened.model, task.test, task.loss, task.metric))


def timed(card: Card, opened: OpenedModel, images: torch.Tensor, runtime: str, threads: int, device: str) -> Card:
    """The card with its latency. Raises MeasurementError where the runtime gives other outputs than eager."""
    eager = load_runtime("eager")(opened.model, images, threads)
    if runtime == "eager":
        (timing,) = time_interleaved([lambda: eager(images)], device=device, threads=threads)
        return card.with_timing(timing, len(images), runtime)
    other = load_runtime(runtime)(opened.model, images, threads)
    wanted, given = eager(images), other(images)
    gap = float((torch.as_tensor(given).to(wanted.device) - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not gap <= SAME:
        raise MeasurementError(f"{runtime}: its outputs differ from eager's by {gap:.2g} of the largest; not timed.")
    _, timing = time_interleaved([lambda: eager(images), lambda: other(images)], device=device, threads=threads)
    return card.with_timing(timing, len(images), runtime, "eager")


def throughput(opened: OpenedModel, shape: Shape, runtime: str, threads: int, device: str) -> dict:
    """{images_per_second, batch} at the best batch size found."""

    def at(batch: int):
        images = torch.rand(batch, *shape).to(device)
        run = load_runtime(runtime)(opened.model, images, threads)
        return lambda: run(images)

    found = best_throughput(at, device=device, threads=threads)
    return {"images_per_second": found.images_per_second, "batch": found.batch}
