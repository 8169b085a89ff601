"""Searches of a second: a small network on a few made images, an engine without processes, kills by exception."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import same_bits, small_task

from prunelle.data.task import Task
from prunelle.files import write_sealed_json
from prunelle.models.save import load
from prunelle.runs import Run
from prunelle.schedules import constant
from prunelle.tickets.arrangement import Arrangement, Rate
from prunelle.tickets.finished import card_of
from prunelle.tickets.grid import Grid, Member, waves
from prunelle.tickets.lottery import MODEL, Lottery, Place, folder_of
from prunelle.tickets.sweep import ARRANGEMENT, Swept, sweep
from prunelle.tickets.trials import who
from prunelle.tickets.work import How, Job, work
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings

NET = """
from torch import nn

def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 3))

def conv():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(144, 3),
    )
"""
PRUNABLE = 72 * 10 + 10 * 3
PER_EPOCH = 6
TASK = small_task()
"""48 images for training: 6 updates of 8 an epoch."""


def lottery(folder: Path, net: str = "mlp", epochs: int = 3, lr: float = 3e-3, **changed: Any) -> Lottery:
    """Of one ticket and seed 0; `changed`: fields of TrainSettings, Grid or Lottery."""
    (folder / "net.py").write_text(NET)
    told = {"epochs": epochs, "lr": lr, "batch_size": 8, "optimizer": Adam(), "schedule": constant}
    parts = {"kept": (0.5,), "rewinds": (0,), "seeds": (0,)}
    rest: dict[str, Any] = {}
    for name, value in changed.items():
        of = (
            told if name in TrainSettings.__dataclass_fields__ else parts if name in Grid.__dataclass_fields__ else rest
        )
        of[name] = value
    model = f"{folder / 'net.py'}:{net}"
    named = {"net": net, "told": repr(sorted(changed.items())), "epochs": epochs, "lr": lr}
    return Lottery(model, named, TrainSettings(**told), Grid(**parts), trust=True, **rest)


class Loop:
    """An engine without processes. Final."""

    def __init__(self, task: Task = TASK, workers: int = 1) -> None:
        self.task, self.workers = task, workers
        self.jobs: list[Any] = []

    def run(self, function: Callable, jobs: Sequence, watch: Callable[[], None] = lambda: None) -> list:
        if function is who:
            return [str(number) for number in range(len(jobs))]
        self.jobs += jobs
        found = [function(job, self.task) for job in jobs]
        watch()
        return found


def arrangement(whole: How = "plain", sparse_below: float = 0.0, workers: int = 1) -> Arrangement:
    """One that no trial has made."""
    rates = tuple(Rate(how, n, 1.0, 1.0) for how in ("plain", "fused", "sparse") for n in range(1, workers + 1))
    return Arrangement(whole, sparse_below, workers, rates, 1.0, 1.0)


def searched(one: Lottery, out: Path, arranged: Arrangement | None = None, engine: Loop | None = None) -> Swept:
    """The whole search below `out`, without a trial."""
    if not (out / ARRANGEMENT).exists():
        out.mkdir(parents=True, exist_ok=True)
        write_sealed_json(out / ARRANGEMENT, (arranged or arrangement()).to_json())
    return sweep(one, TASK, Place(out), engine or Loop(), lambda what, share: None)


def trained(
    one: Lottery, out: Path, *members: Member, how: How = "plain", task: Task = TASK, every: float = 1e9
) -> None:
    """Some members in one job. every: seconds between checkpoints."""
    work(Job(one, Place(out, checkpoint_seconds=every), members, how), task)


def everyone(one: Lottery) -> list[Member]:
    return [member for wave in waves(one.grid) for member in wave]


def found_of(one: Lottery, out: Path, member: Member) -> dict[str, Any]:
    """What of a card does not depend on the clock."""
    card = card_of(one, member, Place(out))
    assert card is not None
    return card["found"]


def weights_of(one: Lottery, out: Path, member: Member) -> dict:
    return load(folder_of(one, member, Place(out)) / MODEL, trust=True).state_dict()


def same(one: Lottery, first: Path, second: Path, members: Sequence[Member]) -> bool:
    """Equal weights, cards without the clock and rows, to the last bit."""
    for member in members:
        a, b = (folder_of(one, member, Place(out)) for out in (first, second))
        if Run(a, 0).metrics() != Run(b, 0).metrics():
            return False
        if found_of(one, first, member) != found_of(one, second, member):
            return False
        if not same_bits(weights_of(one, first, member), weights_of(one, second, member)):
            return False
    return True


class Killed(BaseException):
    """What stands for SIGKILL within a test's process."""


def killed_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, after: bool = True) -> None:
    """Let call number `call` (from 1) of a function be the last thing done: `after` it, or in its place."""
    whole, calls = getattr(owner, name), [0]

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and not after:
            raise Killed
        found = whole(*args, **kwargs)
        if calls[0] == call:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, dying)
