"""Measuring what the runs of an experiment saved, each file as it would be shipped, and telling it in rows."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from functools import partial
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

from prunelle.data.task import Task
from prunelle.errors import CorruptFileError
from prunelle.measure.accuracy import Evaluation, evaluate, flips
from prunelle.measure.card import CARD_VERSION, Card, count
from prunelle.measure.latency import time_interleaved
from prunelle.models.open import check_fits, open_model
from prunelle.models.save import load, size_bytes
from prunelle.recipes.execute import MODEL, diverged, open_run, task_of
from prunelle.recipes.plan import Place, PlannedRun
from prunelle.runs import Run
from prunelle.ship.sizes import dense_bytes

DETERMINISTIC = ("id", "run", "variant", "model", "seed", "params", "nnz", "macs", "macs_nonzero", "top1", "loss")
"""Columns that are equal on one machine however often a run was interrupted."""


def measure_run(planned: PlannedRun, place: Place) -> None:
    """Write the run's card unless it stands: everything is measured on the saved folder, loaded afresh."""
    run = open_run(planned, place)
    if run.done:
        return
    task = task_of(planned.cell.data, place.data_dir, place.device)
    with run.locked():
        run.drop_checkpoints()  # left by a kill after the training was saved
        model = load(run.folder / MODEL, trust=place.trust).to(run.device)
        card = count(planned.cell.model, model, task.input_shape)
        val = evaluate(model, task.val, task.loss, task.metric)
        test = evaluate(model, task.test, task.loss, task.metric)
        saved = size_bytes(run.folder / MODEL)
        with tempfile.TemporaryDirectory() as beside:
            sizes: dict[str, int | None] = {"dense_safetensors": dense_bytes(model, Path(beside)), "saved": saved}
        card = dataclasses.replace(card, size_bytes=saved, sizes_bytes=sizes, diverged=diverged(run))
        card = card.with_accuracy(test, val.top1)
        dense = None
        if planned.dense:
            dense = load(open_run(planned.dense, place).folder / MODEL, trust=place.trust).to(run.device)
        run.finish(timed(card, model, dense, task, place).to_json())


def timed(card: Card, model: nn.Module, dense: nn.Module | None, task: Task, place: Place) -> Card:
    """The card with the latency of one image in eager PyTorch, interleaved with the dense network's where given."""
    image = next(iter(task.test.epoch(1)))[0]
    timer = partial(
        time_interleaved,
        device=place.device,
        threads=place.measure_threads,
        min_seconds=place.measure_seconds,
        min_samples=place.measure_samples,
    )
    with torch.inference_mode():
        if dense is None:
            (timing,) = timer([lambda: model(image)])
            return card.with_timing(timing, 1, "eager")
        _, timing = timer([lambda: dense(image), lambda: model(image)])
        return card.with_timing(timing, 1, "eager", "dense")


def evaluations(planned: PlannedRun, place: Place) -> tuple[Evaluation, Evaluation]:
    """(dense, pruned) on the test split, for the flips; the figures were chosen before."""
    task = task_of(planned.cell.data, place.data_dir, place.device)
    assert planned.dense
    models = []
    for one in (planned.dense, planned):
        folder = str(open_run(one, place).folder / MODEL)
        opened = open_model(folder, trust=place.trust)
        check_fits(opened, folder, task)
        models.append(opened.model.to(place.device))
    before, after = (evaluate(model, task.test, task.loss, task.metric) for model in models)
    return before, after


def card_of(run: Run) -> dict:
    """A finished run's card as JSON, its fields checked. Raises CorruptFileError."""
    values = run.card()
    try:
        TypeAdapter(Card).validate_python(values)
        known = {field.name for field in dataclasses.fields(Card)}
        if values.keys() != known or values["schema_version"] != CARD_VERSION:
            raise ValueError
    except ValueError:
        path = run.folder / "card.json"
        raise CorruptFileError(f"{path}: holds no card of this version; take a fresh copy of the folder.") from None
    return values


def row(planned: PlannedRun, place: Place) -> dict:
    """A run's card as one flat row of the table; keys are report.rows.COLUMNS. dense_id: the run it stands on."""
    run = open_run(planned, place)
    card = card_of(run)
    latency = card["latency_ms"] or {}
    flat = copy.copy(card)
    for name in ("latency_ms", "layers", "environment", "throughput", "uncounted", "sizes_bytes", "schema_version"):
        flat.pop(name)
    return {
        "id": run.id,
        "dense_id": open_run(planned.dense, place).id if planned.dense else None,
        "run": planned.cell.label,
        "variant": planned.variant,
        "seed": planned.seed,
        **flat,
        "latency_median_ms": latency.get("median"),
        "latency_p95_ms": latency.get("p95"),
        "latency_p99_ms": latency.get("p99"),
        "latency_ratio": latency.get("ratio"),
        "ratio_low": latency.get("ratio_low"),
        "ratio_high": latency.get("ratio_high"),
        "runtime": latency.get("runtime"),
        "batch": latency.get("batch"),
        "threads": latency.get("threads"),
    }


def curve(planned: PlannedRun, run: Run) -> dict:
    """A run's training rows as one curve; the epochs of several stages follow each other."""
    points: list[dict] = []
    stage, offset = None, 0
    for point in run.rows():
        if point.get("diverged"):
            continue
        if point["stage"] != stage:
            stage, offset = point["stage"], len(points)
        points.append({**point, "epoch": offset + point["epoch"]})
    return {
        "name": f"{planned.cell.label} {planned.variant} seed {planned.seed}",
        "run": planned.cell.label,
        "points": points,
    }


def layer_rows(planned: PlannedRun, place: Place) -> list[dict]:
    """Per layer, before and after."""
    assert planned.dense
    before = {layer["layer"]: layer for layer in card_of(open_run(planned.dense, place))["layers"]}
    after = card_of(open_run(planned, place))["layers"]
    return [
        {
            "run": planned.cell.label,
            "layer": layer["layer"],
            "params_before": before[layer["layer"]]["params"],
            "params_after": layer["nnz"],
            "macs_before": before[layer["layer"]]["macs"],
            "macs_after": layer["macs_nonzero"],
        }
        for layer in after
        if layer["layer"] in before
    ]


def class_flips(planned: PlannedRun, place: Place) -> dict:
    """Which classes' predictions changed between the dense and the pruned network."""
    task = task_of(planned.cell.data, place.data_dir, place.device)
    before, after = evaluations(planned, place)
    return {"class_names": list(task.class_names), "per_class": flips(before, after, task.class_names)}
