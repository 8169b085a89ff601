"""Workers of a search that tell which trainings they begin: beside OUT, where no other process looks."""

from pathlib import Path
from typing import NamedTuple

from torch import nn

from prunelle.data.task import Task
from prunelle.runs import Run
from prunelle.tickets import work as room
from prunelle.tickets.grid import Member
from prunelle.tickets.live import Live

begin = room.begin


class Begun(NamedTuple):
    """stood: whether the run's card stood, which must not be."""

    run: str
    stood: bool


def watched(job: room.Job, task: Task) -> None:
    """`tickets.work.work`."""
    room.begin = noted
    room.work(job, task)


def noted(job: room.Job, member: Member, run: Run, task: Task, model: nn.Module) -> Live:
    with log_of(job.place.out).open("a") as file:
        file.write(f"{run.id} {int(run.done)}\n")
    return begin(job, member, run, task, model)


def log_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.begun")


def begun(out: Path) -> list[Begun]:
    """Every training that was begun or resumed for the search in `out`, in order."""
    path = log_of(out)
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Begun(run, stood == "1") for run, stood in words]
