"""Two models on one test split: what was lost, what was won."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from prunelle.data.load import load_task
from prunelle.measure.accuracy import evaluate, flips
from prunelle.measure.environment import environment
from prunelle.measure.latency import time_interleaved
from prunelle.models.names import TABLE
from prunelle.models.open import check_fits, open_model
from prunelle.models.save import is_saved, size_bytes


def data_of(folder: str) -> str | None:
    """The data set that an experiment's folder was made on, None when it does not say."""
    try:
        return json.loads((Path(folder) / "recipe.json").read_text())["recipe"]["cells"][0]["data"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def compare_models(a: str, b: str, data: str, data_dir: str | None, device: str, threads: int, trust: bool) -> dict:
    """Top-1 of both, flips per class, sizes, and the speed of B against A for one image, interleaved."""
    task = load_task(data, data_dir=data_dir, device=device)
    opened = []
    for name in (a, b):
        fits = {"input_shape": task.input_shape, "num_classes": task.num_classes} if name in TABLE else {}
        one = open_model(name, trust=trust, **fits)  # type: ignore[arg-type]
        check_fits(one, name, task)
        opened.append(one.model.to(device))
    before, after = (evaluate(model, task.test, task.loss, task.metric) for model in opened)
    image = next(iter(task.test.epoch(1)))[0]
    with torch.inference_mode():
        first, second = time_interleaved(
            [lambda: opened[0](image), lambda: opened[1](image)], device=device, threads=threads
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
