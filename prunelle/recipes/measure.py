"""One model measured as it stands, in any runtime."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import torch

from prunelle.data.load import load_task
from prunelle.data.names import SOURCES
from prunelle.data.task import Task
from prunelle.errors import ModelError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.card import Card, count
from prunelle.measure.latency import time_interleaved
from prunelle.measure.throughput import best_throughput
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel, check_fits, open_model
from prunelle.models.packed.magic import is_packed
from prunelle.models.save import size_bytes
from prunelle.recipes.check import check_input, is_folder, open_for
from prunelle.recipes.fitting import images_for
from prunelle.ship.footprint import peak_memory_of_folder
from prunelle.ship.formats import Order
from prunelle.ship.runtimes import load_runtime
from prunelle.ship.sizes import sizes_of
from prunelle.train.ddp import check_device

MOST_SIZED = 5_000_000
"""Nonzero parameters."""
LARGEST_BATCH = 2**28
"""Numbers in the images of one call: 1 GB as floats."""


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

    data: whose test split gives the accuracy; None leaves it null. full: also throughput, peak
    memory and the bytes of other forms.
    Raises ModelError, WeightsError, DataError, MeasurementError, SettingError for a runtime that is fitted to images
    without data, and what opening the model raises.
    """
    check_device(device)
    folder = is_folder(model)
    opened, task = open_with_data(
        model, data, data_dir, device, weights=weights, input_shape=input_shape, trust=trust, seed=seed
    )
    shape = (task.input_shape if task else input_shape) or opened.input_shape
    if shape is None:
        raise ModelError(f"{model}: does not say what images it takes; pass --input C,H,W or --data.")
    if batch * math.prod(shape) > LARGEST_BATCH:
        raise SettingError(f"--batch {batch}: images of {shape} would not fit in memory; pass a smaller one.")
    network = opened.model.to(device)
    card = count(model, network, shape)
    if folder or is_packed(model):
        card = dataclasses.replace(card, size_bytes=size_bytes(Path(model)))
    images = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed)).to(device)
    fit = images_for(model, runtime, task, seed)
    card = timed(card, opened, images, runtime, threads, fit)
    if full:
        card = dataclasses.replace(card, throughput=throughput(opened, shape, runtime, threads, device, fit))
        if device == "cpu":
            card = dataclasses.replace(card, sizes_bytes=sizes(card, opened, images[:1]))
        if folder and runtime == "eager" and device == "cpu" and not trust:
            card = dataclasses.replace(card, peak_memory_bytes=peak_memory_of_folder(model, batch, threads))
    return card if task is None else card.with_accuracy(evaluate(network, task.test, task.loss, task.metric))


def sizes(card: Card, opened: OpenedModel, image: torch.Tensor) -> dict[str, int | None]:
    """Bytes of the same network as dense safetensors, as it is saved, packed, and as a native library.

    Packing a million weights takes some ten seconds, and above MOST_SIZED nothing is packed or compiled.
    """
    about = {"builder": opened.builder, "cuts": opened.cuts, "class_names": opened.class_names}
    order = Order(opened.model, image, "fp32", preprocessing=opened.preprocessing, more=about)
    with tempfile.TemporaryDirectory() as beside:
        found = sizes_of(order, Path(beside), ("packed", "native") if card.nnz <= MOST_SIZED else ())
    saved = {"saved": card.size_bytes}
    return {**dict.fromkeys(("dense_safetensors", "saved", "packed", "native")), **found, **saved}


def open_with_data(
    model: str,
    data: str | None,
    data_dir: str | None,
    device: str,
    *,
    input_shape: Shape | None = None,
    **settings: Any,
) -> tuple[OpenedModel, Task | None]:
    """The model and the task; what can be refused by the words alone is refused before the data is read.

    settings: further arguments of open_for. Raises as measure_model.
    """
    if data is None or data in SOURCES or is_folder(model):
        opened = open_for(model, data, input_shape=input_shape, **settings)
        task = load_task(data, data_dir=data_dir, device=device) if data else None
    else:
        task = load_task(data, data_dir=data_dir, device=device)
        opened = open_model(model, input_shape=task.input_shape, num_classes=task.num_classes, **settings)
    if task is not None:
        check_input(input_shape, task.input_shape, task.name)
        check_fits(opened, model, task)
    return opened, task


def timed(
    card: Card, opened: OpenedModel, images: torch.Tensor, runtime: str, threads: int, fit: torch.Tensor | None
) -> Card:
    """The card with its latency. A runtime that gives other outputs than eager raises MeasurementError.

    fit: images for a runtime that is fitted to some.
    """
    device = str(images.device)
    eager = load_runtime("eager")(opened.model, images, threads)
    if runtime == "eager":
        (timing,) = time_interleaved([lambda: eager(images)], device=device, threads=threads)
        return card.with_timing(timing, len(images), runtime)
    other = load_runtime(runtime)(opened.model, images if fit is None else fit, threads)
    _, timing = time_interleaved([lambda: eager(images), lambda: other(images)], device=device, threads=threads)
    return card.with_timing(timing, len(images), runtime, "eager")


def throughput(
    opened: OpenedModel, shape: Shape, runtime: str, threads: int, device: str, fit: torch.Tensor | None
) -> dict:
    """{images_per_second, batch} at the best batch size found."""

    def at(batch: int):
        images = torch.rand(batch, *shape).to(device)
        run = load_runtime(runtime)(opened.model, images if fit is None else fit, threads)
        return lambda: run(images)

    found = best_throughput(at, device=device, threads=threads)
    return {"images_per_second": found.images_per_second, "batch": found.batch}
