"""The job as a child of this process, which has torch imported already, so that a start costs milliseconds."""

import contextlib
import dataclasses
import functools
import gc
import multiprocessing
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunelle.cli.main import answer
from prunelle.recipes import experiment
from prunelle.recipes.execute import task_of
from prunelle.recipes.experiment import Finished
from prunelle.recipes.plan import Place
from prunelle.recipes.settings import Recipe

from .faults import Counter, Fault, install

GONE_SECONDS = 10
QUICK = {"measure_seconds": 0.02, "measure_samples": 30, "checkpoint_seconds": 0.03}


@dataclass(frozen=True)
class Way:
    """How the job is run. method: how workers are born, "spawn" as shipped or "fork", which costs nothing."""

    workers: int
    method: str


@dataclass(frozen=True)
class Ended:
    """code: exit code, negative = the signal. seconds: until the job ended; gone_seconds: from then until its last
    process had. calls: that changed the folder."""

    code: int
    stderr: str
    seconds: float
    gone_seconds: float
    calls: int


def warm_up() -> None:
    """Import and read what every start needs, and keep it out of the children's garbage collections.

    Starts no thread: only then is forking safe.
    """
    import plotly.offline
    import torch._dynamo  # noqa: F401

    import prunelle.recipes.outcome  # noqa: F401

    plotly.offline.get_plotlyjs()
    task_of("digits", None, "cpu")
    gc.freeze()


def run_job(
    recipe: Path, out: Path, way: Way, fault: Fault | None = None, kill_after: float | None = None, alone: bool = False
) -> Ended:
    """Run `prunelle run` to its end, or SIGKILL it after so many seconds: its process group, or the parent alone."""
    counter = Counter()
    errors = os.memfd_create("stderr")  # not a file: the job's disk may be full
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        become(recipe, out, way, fault, counter, errors)
    watch = os.pidfd_open(child)
    ready, _, _ = select.select([watch], [], [], kill_after)
    if not ready:
        os.kill(child, signal.SIGKILL) if alone else os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(watch)
    end = time.monotonic()
    gone_seconds = wait_until_gone(child)
    with open(errors, "rb") as file, contextlib.closing(counter):
        file.seek(0)
        return Ended(code, file.read().decode(), end - start, gone_seconds, counter.so_far)


def become(recipe: Path, out: Path, way: Way, fault: Fault | None, counter: Counter, errors: int) -> None:
    """Be the job: a process group of its own, the command line as typed, and the disk as the fault wants it."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors, 2)
    code = 70
    try:
        context = multiprocessing.get_context(way.method)
        multiprocessing.get_context = lambda method=None: context
        experiment.run_experiment = functools.partial(quickly, experiment.run_experiment)
        install(out, fault, counter)
        sys.argv = ["prunelle", "run", str(recipe), "--out", str(out), "--workers", str(way.workers)]
        code = answer(sys.argv[1:])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def quickly(run_experiment: Callable, recipe: Recipe, place: Place, watch: Callable) -> Finished | None:
    """run_experiment with few timing samples and many checkpoints."""
    return run_experiment(recipe, dataclasses.replace(place, **QUICK), watch)


def wait_until_gone(group: int) -> float:
    """Seconds until no process of the group is alive, GONE_SECONDS when some are still."""
    start = time.monotonic()
    while members(group) and time.monotonic() - start < GONE_SECONDS:
        time.sleep(0.02)
    left = members(group)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return GONE_SECONDS if left else time.monotonic() - start


def members(group: int) -> list[int]:
    """Processes of the group that are not zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(entry.name))
    return found
