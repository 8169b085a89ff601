"""What is told of the file that is shipped: how it does on the test split, its card, and result.json."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from prunelle.data.task import Task
from prunelle.fit.budget import front
from prunelle.fit.candidates import Candidate
from prunelle.fit.delivery import Bench, Made, opened
from prunelle.fit.entry import Entry
from prunelle.fit.networks import Brought
from prunelle.fit.outcome import Outcome, Place
from prunelle.measure.accuracy import Evaluation
from prunelle.measure.card import Card, count
from prunelle.measure.environment import environment
from prunelle.measure.latency import Timing
from prunelle.ship.gate import answers, exam_on, judge
from prunelle.ship.shipped import Held, list_files, read_shipped, running_bytes, write_shipped


def tested(candidate: Candidate, network: Brought, bench: Bench, folder: Path) -> Made:
    """The file that stands in `folder`, on the test split: read once, for what is shipped. Raises as `make`."""
    exam = exam_on(network.model, bench.task.test, bench.task.metric, "test split")
    run = opened(candidate, folder, trials=True)
    outputs = answers(candidate.name, run, exam)
    parity = judge(candidate.name, outputs, exam, candidate.precision)
    assert exam.targets is not None
    size = running_bytes(list_files(folder, candidate.format))
    return Made(run, parity, outputs, exam.targets, size)


def rewrite(made: Made, folder: Path) -> None:
    """ship.json says how the file did on the test split. Raises DiskError."""
    found = read_shipped(folder)
    assert made.parity is not None
    write_shipped(found.model_copy(update={"parity": Held(**made.parity.to_json())}), folder)


def evaluation(made: Made, task: Task) -> Evaluation:
    """What the file got right."""
    scores = task.metric(made.outputs, made.targets)
    loss = float(task.loss(made.outputs, made.targets))
    return Evaluation(float(scores.double().mean()), loss, scores, made.outputs.argmax(1), made.targets)


def labels(targets: Tensor) -> bool:
    """Whether each target is one class."""
    return targets.ndim == 1 and not targets.is_floating_point()


def card_of(chosen: Entry, network: Brought, test: Evaluation, task: Task, reference: str) -> Card:
    """Of the file that is shipped, with its own bytes and times; the ratio is the reference's time over its own."""
    card = count(chosen.name, network.model, task.input_shape)
    figures = (chosen.median_ms, chosen.p95_ms, chosen.p99_ms)
    ratios = (1 / chosen.share, 1 / chosen.share_high, 1 / chosen.share_low)
    timing = Timing(*figures, *ratios, chosen.num_samples, 1)
    card = card.with_timing(timing, 1, chosen.runtime, reference)
    return dataclasses.replace(card, size_bytes=chosen.size_bytes).with_accuracy(test, chosen.val_top1)


def dense_card(model: Brought, bench: Bench, test: Evaluation) -> Card:
    """Of the user's network; its time stands in result.json as `reference`, taken in turns with the file."""
    card = count(bench.model, model.model, bench.task.input_shape)
    card = dataclasses.replace(card, sizes_bytes={"dense_safetensors": bench.dense_bytes})
    return card.with_accuracy(test, float(bench.dense_scores.mean()))


def told(outcome: Outcome, place: Place) -> dict[str, Any]:
    """result.json: plain values."""
    chosen = outcome.chosen
    return {
        "met": outcome.met,
        "missed": outcome.missed,
        "model": place.model,
        "data": place.data,
        "budget": dataclasses.asdict(outcome.budget),
        "chosen": {**chosen.to_json(), "name": chosen.name},
        "folder": str(outcome.folder),
        "test": {
            "top1": outcome.top1,
            "top1_dense": outcome.top1_dense,
            "drop": outcome.test_drop,
            "num_test": outcome.num_test,
            "per_class": outcome.per_class,
        },
        "nearest": {limit: {**one.to_json(), "name": one.name} for limit, one in outcome.nearest.items()},
        "front": [one.name for one in front(outcome.entries)],
        "num_tried": len(outcome.entries),
        "reference": {"runtime": outcome.reference, "ms": outcome.reference_ms},
        "minutes": outcome.spent / 60,
        "cards": {name: card.to_json() for name, card in outcome.cards.items()},
        "environment": environment(),
    }
