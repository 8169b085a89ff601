"""Two models on one test split: what was lost, what was won."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from prunelle.data.names import SOURCES
from prunelle.errors import CorruptFileError
from prunelle.files import read_sealed_json
from prunelle.measure.accuracy import evaluate, flips
from prunelle.measure.environment import environment
from prunelle.measure.latency import time_interleaved
from prunelle.models.save import is_saved, size_bytes
from prunelle.recipes.check import open_for
from prunelle.recipes.measure import open_with_data
from prunelle.train.ddp import check_device


def data_of(folder: str) -> str | None:
    """The data set that an experiment's folder was made on, None when it is not one. Raises CorruptFileError."""
    path = Path(folder) / "recipe.json"
    if not os.path.lexists(path):
        return None
    try:
        return str(read_sealed_json(path)["recipe"]["cells"][0]["data"])
    except (KeyError, IndexError, TypeError):
        raise CorruptFileError(f"{path}: holds no recipe of this version; name the data with --data.") from None


def compare_models(a: str, b: str, data: str, data_dir: str | None, device: str, threads: int, trust: bool) -> dict:
    """Top-1 of both, flips per class, sizes, and the speed of B against A for one image, interleaved."""
    check_device(device)
    if data in SOURCES:  # both are refused before the data is read
        for name in (a, b):
            open_for(name, data, trust=trust)
    models = []
    for name in (a, b):
        opened, task = open_with_data(name, data, data_dir, device, trust=trust)
        models.append(opened.model.to(device))
    assert task is not None
    before, after = (evaluate(model, task.test, task.loss, task.metric) for model in models)
    image = next(iter(task.test.epoch(1)))[0]
    with torch.inference_mode():
        first, second = time_interleaved(
            [lambda: models[0](image), lambda: models[1](image)], device=device, threads=threads
        )
    per_class = flips(before, after, task.class_names)
    sizes = [size_bytes(Path(name)) if is_saved(name) else None for name in (a, b)]
    return {
        "a": a,
        "b": b,
        "data": data,
        "num_test": len(before.scores),
        "top1_before": before.top1,
        "top1_after": after.top1,
        "drop_points": 100 * (before.top1 - after.top1),
        "lost": sum(r["lost"] for r in per_class),
        "gained": sum(r["gained"] for r in per_class),
        "per_class": per_class,
        "size_bytes_before": sizes[0],
        "size_bytes_after": sizes[1],
        "latency_ms_before": first.median_ms,
        "latency_ms_after": second.median_ms,
        "ratio": second.ratio,
        "ratio_low": second.ratio_low,
        "ratio_high": second.ratio_high,
        "threads": threads,
        "environment": environment(),
    }
