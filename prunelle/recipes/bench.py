"""`prunelle bench`: several models and shipped files on the same images, in turns within one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from prunelle.data.find import check_data
from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.errors import DataError, MissingExtraError, ModelError, SettingError
from prunelle.files import make_folder, write_sealed_json
from prunelle.measure.environment import environment
from prunelle.measure.latency import time_interleaved
from prunelle.models.names import Shape
from prunelle.recipes.artefacts import Artefact, How, Word, fixed_shape, open_artefact
from prunelle.recipes.check import check_input
from prunelle.recipes.compare import data_of
from prunelle.recipes.fitting import images_for
from prunelle.recipes.measure import LARGEST_BATCH
from prunelle.report.speed import Speeds, write_speeds
from prunelle.ship.images import over, timed_images
from prunelle.ship.names import FITTED

NOISE = "noise, drawn evenly from [0, 1]"


def bench(
    words: Sequence[Word],
    *,
    batch: int = 1,
    threads: int = 1,
    data: str | None = None,
    data_dir: str | None = None,
    input_shape: Shape | None = None,
    seed: int = 0,
    trust: bool = False,
    timing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Time what `words` name in turns; ratio is the time of the first over the time of each.

    data: whose validation images are fed; None takes what the first was made on where that is here, else noise. A name
    is built for the images of those that cannot take others. timing: further settings of the timer.
    Returns {artefacts: [{name, runtime, precision, median_ms, p95_ms, p99_ms, ratio, ratio_low, ratio_high, size_bytes,
    num_samples}], images, input_shape, batch, threads, environment}.
    Raises ModelError where they take different images, and what opening them raises.
    """
    task = load_task(data, data_dir=data_dir) if data else None
    if task is not None:
        check_input(input_shape, task.input_shape, task.name)
    known = (task.input_shape, task.num_classes) if task else None
    if known is None and input_shape is None:
        known = next((found for word in words if (found := fixed_shape(word, trust))), None)
    shape = known[0] if known else input_shape
    how = How(batch, threads, seed, trust, images_to_fit(words, task, data_dir, seed))
    opened: list[Artefact] = []
    for word in words:
        one = open_artefact(word, shape, known[1] if known else None, how)
        opened.append(one)
        shape = shape or one.shape
        refuse_other_images(one, shape, opened[0].name if known is None else None)
    assert shape is not None
    if batch * math.prod(shape) > LARGEST_BATCH:
        raise SettingError(f"--batch {batch}: images of {shape} would not fit in memory; pass a smaller one.")
    task = task or recorded_task(opened, shape, data_dir)
    images = timed_images(task, shape, batch, seed)
    timings = time_interleaved([over(one.run, images) for one in opened], threads=threads, **(timing or {}))
    keys = ("median_ms", "p95_ms", "p99_ms", "ratio", "ratio_low", "ratio_high", "num_samples")
    rows = []
    for one, timing_of_one in zip(opened, timings, strict=True):
        figures = {key: getattr(timing_of_one, key) for key in keys}
        if len(opened) == 1:
            figures |= {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
        row = {"name": one.name, "runtime": one.runtime, "precision": one.precision, "size_bytes": one.size_bytes}
        rows.append(row | figures)
    return {
        "artefacts": rows,
        "images": NOISE if task is None else f"validation split of {task.name}",
        "input_shape": list(shape),
        "batch": batch,
        "threads": threads,
        "environment": environment(),
    }


def images_to_fit(words: Sequence[Word], task: Task | None, data_dir: str | None, seed: int) -> Tensor | None:
    """The images for the first word whose runtime is fitted to some: of `task`, else of what its model was made on.

    Raises SettingError where there are none.
    """
    word = next((word for word in words if word.runtime in FITTED and word.shipped is None), None)
    if word is None or word.runtime is None:
        return None
    return images_for(word.name, word.runtime, task or task_here(data_of(word.path), data_dir), seed)


def refuse_other_images(found: Artefact, shape: Shape, first: str | None) -> None:
    """Raises ModelError when an artefact takes other images than the rest."""
    if tuple(found.shape) != tuple(shape):
        theirs = f"{first} takes" if first else "the others take"
        raise ModelError(
            f"{found.name}: takes images of {tuple(found.shape)} where {theirs} {tuple(shape)}; bench what takes the "
            "same images."
        )


def recorded_task(opened: Sequence[Artefact], shape: Shape, data_dir: str | None) -> Task | None:
    """What the first artefact that says so was made on, None where it is not here or has other images."""
    task = task_here(next((one.data for one in opened if one.data), None), data_dir)
    return task if task and tuple(task.input_shape) == tuple(shape) else None


def task_here(name: str | None, data_dir: str | None) -> Task | None:
    """The data of this name, None where there is none or it is not here."""
    if name is None:
        return None
    try:
        check_data(name, data_dir)
        return load_task(name, data_dir=data_dir)
    except (DataError, MissingExtraError):
        return None


def write_bench(found: Mapping[str, Any], out: Path, command: str = "") -> list[Path]:
    """bench.json, sealed, and bench.html with the bars. Raises DiskError."""
    make_folder(out)
    rows = [dict(row) for row in found["artefacts"]]
    best = min(rows, key=lambda row: row["median_ms"])
    best["winner"] = True
    write_sealed_json(out / "bench.json", dict(found))
    notes = [
        f"Images: {found['images']}, {found['batch']} a call, {found['threads']} threads; all in turns in one run."
    ]
    page = Speeds(
        " against ".join(row["name"] for row in rows[:3]) + (" and others" if len(rows) > 3 else ""),
        sentence(found),
        rows,
        notes=notes,
        command=command,
        environment=found["environment"],
    )
    return [out / "bench.json", write_speeds(page, out / "bench.html")]


def sentence(found: Mapping[str, Any]) -> str:
    """The headline."""
    rows = found["artefacts"]
    best = min(rows, key=lambda row: row["median_ms"])
    said = f"{best['name']} takes {best['median_ms']:.4g} ms a call"
    if best is rows[0]:
        return f"{said}; nothing here is faster." if len(rows) > 1 else f"{said}."
    return (
        f"{said}, {best['ratio']:.2f} times as fast as {rows[0]['name']} "
        f"({best['ratio_low']:.2f} to {best['ratio_high']:.2f})."
    )
