"""`prunelle sweep` as a child of this process, which has torch imported already."""

import dataclasses
import fcntl
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prunelle.cli.main import answer
from prunelle.data.load import load_task
from prunelle.engines import local
from prunelle.recipes import sweeping
from prunelle.tickets import sweep as room
from prunelle.tickets import trials

from .begun import watched
from .child import Ended, in_child
from .family import adopt

CHECKPOINT_SECONDS = 0.05
TRIAL_SECONDS = 0.02
DATA = ("data=digits", "lr=0.002")
WHOLE = ("masks=7", "rewinds=2", "seeds=4", "epochs=4")
"""4 dense networks and 7 x 2 x 4 tickets: 60 trainings."""
QUICK = ("masks=3", "rewinds=2", "seeds=2", "epochs=3")
"""2 and 3 x 2 x 2: 14."""


@dataclass(frozen=True)
class Way:
    """How a search is done. method: how local workers are born, "spawn" as shipped, or "fork", which costs nothing.
    patience: seconds that processes have to go when the driver is gone."""

    arrangement: str = "plain"
    workers: int = 2
    engine: str = "local"
    method: str = "fork"

    @property
    def patience(self) -> float:
        return 30.0 if self.engine == "ray" else 10.0

    def __str__(self) -> str:
        born = f", {self.method}" if self.engine == "local" else ""
        return f"{self.arrangement}, {self.engine} x {self.workers}{born}"

    def words(self, grid: tuple[str, ...], out: Path) -> list[str]:
        told = [word for one in (*DATA, *grid, f"arrangement={self.arrangement}") for word in ("--set", one)]
        where = ["--engine", self.engine, "--workers", str(self.workers), "--out", str(out)]
        return ["sweep", "lottery_lenet", *told, *where, "--json"]


def warm_up() -> None:
    """Import what every start needs. Starts no thread: only then is forking safe."""
    import torch._dynamo

    import prunelle.recipes.sweep_told  # noqa: F401

    torch.set_num_threads(1)
    load_task("digits")
    adopt()
    gc.freeze()


def run_sweep(way: Way, grid: tuple[str, ...], out: Path, **disturbed: Any) -> Ended:
    """The search, from its start or from where it stood. disturbed: as `child.in_child` takes it."""
    return in_child(lambda: become(way, grid, out), out, patience=way.patience, **disturbed)


def become(way: Way, grid: tuple[str, ...], out: Path) -> int:
    """Be the driver: the command line as typed, with many checkpoints and short trials. Returns its exit code."""
    if way.engine == "local" and way.method == "fork":
        context = multiprocessing.get_context("fork")
        multiprocessing.get_context = lambda method=None: context
        local.work = partial(as_spawned, local.work, out)
    else:
        del sys.modules["__main__"].__file__  # a spawned worker would import this benchmark
    trials.TRIAL_SECONDS = TRIAL_SECONDS
    room.work = watched
    sweeping.run_sweep = partial(often, sweeping.run_sweep)
    return answer(way.words(grid, out))


def often(run: Callable, recipe: Any, asked: sweeping.Asked, watch: Callable) -> sweeping.Found:
    """run_sweep with many checkpoints."""
    return run(recipe, dataclasses.replace(asked, checkpoint_seconds=CHECKPOINT_SECONDS), watch)


def as_spawned(work: Callable, out: Path, pipe: Connection, *given: Any) -> None:
    """A forked worker without the handles that a spawned one would not have: the others' pipes, the lock of OUT."""
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            place, number = os.readlink(f"/proc/self/fd/{entry}"), int(entry)
            if number in (0, 1, 2, pipe.fileno()):
                continue
            writes = place.startswith("pipe:") and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            if writes or place.startswith(("socket:", f"{out.resolve()}/")):
                os.close(number)
    work(pipe, *given)
