"""The error barrier between two trainings of one ticket: whether they end in one valley (linear mode connectivity)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import ModelError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.measure.accuracy import evaluate
from prunelle.models.save import load
from prunelle.tickets.fitting import check_alike
from prunelle.tickets.grid import Member, ticket_of
from prunelle.tickets.lottery import MODEL, Lottery, Place, run_of

NUM_POINTS = 11
FILE = "barrier.json"


@dataclass(frozen=True)
class Pair:
    """A twin, and where it stands; its ticket stands too."""

    lottery: Lottery
    place: Place
    twin: Member


def measure_barrier(job: Pair, task: Task) -> None:
    """Write barrier.json beside the twin's card unless it is there: val errors along the line between the two."""
    run = run_of(job.lottery, job.twin, job.place)
    if (run.folder / FILE).exists():
        return
    ends = [
        load(run_of(job.lottery, member, job.place).folder / MODEL, trust=job.lottery.trust).to(job.place.device)
        for member in (ticket_of(job.twin), job.twin)
    ]
    errors = errors_between(ends[0], ends[1], task)
    write_sealed_json(run.folder / FILE, {"errors": errors, "barrier": barrier(errors)})


def barrier_of(lottery: Lottery, twin: Member, place: Place) -> float | None:
    """The barrier of a twin, None while it was not measured. Raises CorruptFileError."""
    path = run_of(lottery, twin, place).folder / FILE
    if not path.exists():
        return None
    found = read_sealed_json(path)
    check_alike(found, {"errors": [0.0] * NUM_POINTS, "barrier": 0.0}, path)
    return float(found["barrier"])


def errors_between(first: nn.Module, second: nn.Module, task: Task, num_points: int = NUM_POINTS) -> list[float]:
    """Val errors (1 - top1) at evenly spaced points from the first network's weights to the second's.

    Running statistics of norms are mixed like weights. `second` is overwritten. Raises ModelError where the two differ
    in shape.
    """
    ends = dict(first.state_dict()), {name: t.clone() for name, t in second.state_dict().items()}
    found = []
    for number in range(num_points):
        second.load_state_dict(between(*ends, number / (num_points - 1)))
        found.append(1 - evaluate(second, task.val, task.loss, task.metric).top1)
    return found


def between(first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) * first + share * second; whole numbers (counters) are the first's.

    >>> between({"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}, 0.25)["w"]
    tensor([1.])
    """
    if {n: t.shape for n, t in first.items()} != {n: t.shape for n, t in second.items()}:
        raise ModelError("barrier: the two networks differ in names or shapes; give two trainings of one network.")
    return {n: torch.lerp(t, second[n], share) if t.is_floating_point() else t for n, t in first.items()}


def barrier(errors: list[float]) -> float:
    """How far the worst point of the line lies above the mean of its ends; near 0 the two are connected.

    Source: Frankle 2020, arXiv:1912.05671 section 2.

    >>> round(barrier([0.1, 0.4, 0.2]), 6)
    0.25
    """
    return max(errors) - (errors[0] + errors[-1]) / 2
