"""Work in a child of this process, which has torch imported already; who of it is killed when."""

import contextlib
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .family import actors, die_with_parent, wait_until_gone, workers
from .faults import Counter, Fault, install


@dataclass(frozen=True)
class Kill:
    """after: seconds since the kill before, or since the start. whom: the driver, which is the child, alone; its
    process group; or one of its workers (Ray: actors), the `pick`-th in [0, 1) of those that live."""

    after: float
    whom: str
    pick: float = 0.0


@dataclass(frozen=True)
class Ended:
    """code: exit code, negative = the signal. said: what it printed or sent back. calls: that changed the folder.
    struck: the kills that found somebody. gone_seconds: from its end until the last process below it had gone, unless
    it is in `orphans`."""

    code: int
    said: str
    seconds: float
    calls: int
    struck: list[Kill] = field(default_factory=list)
    gone_seconds: float = 0.0
    orphans: list[str] = field(default_factory=list)


def in_child(
    work: Callable[[], int],
    out: Path,
    fault: Fault | None = None,
    kills: Sequence[Kill] = (),
    look: Callable[[], None] = lambda: None,
    patience: float = 10.0,
) -> Ended:
    """Do `work` in a process group of its own with a fault in its writes, and SIGKILL as told. look: called before
    each kill. patience: seconds that its processes have to go when it has ended."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said, contextlib.closing(Counter()) as counter:
        if not (child := os.fork()):
            become(work, out, fault, counter, said.fileno())
        watch = os.pidfd_open(child)
        struck = []
        for kill in kills:
            if select.select([watch], [], [], kill.after)[0]:
                break
            look()
            if strike(child, kill):
                struck.append(kill)
        select.select([watch], [], [])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(watch)
        seconds = time.monotonic() - start
        gone_seconds, orphans = wait_until_gone(patience)
        said.seek(0)
        text = said.read().decode(errors="replace")
        return Ended(code, text, seconds, counter.so_far, struck, gone_seconds, orphans)


def strike(child: int, kill: Kill) -> bool:
    """Whether there was somebody to kill."""
    if kill.whom == "group":
        os.killpg(child, signal.SIGKILL)
        return True
    found = {"driver": lambda child: [child], "worker": workers, "actor": actors}[kill.whom](child)
    if not found:
        return False
    with contextlib.suppress(ProcessLookupError):  # it has just gone
        os.kill(found[int(kill.pick * len(found))], signal.SIGKILL)
        return True
    return False


def moments(draw: random.Random, latest: float, num_workers: int, worker: str = "worker") -> list[Kill]:
    """Kills of so many single workers, by the word for them, then of the driver alone or of the group, each at most so
    many seconds after the one before."""
    whom = [worker] * num_workers + [draw.choice(["driver", "group"])]
    return [Kill(draw.uniform(0, latest), one, draw.random()) for one in whom]


def become(work: Callable[[], int], out: Path, fault: Fault | None, counter: Counter, said: int) -> None:
    os.setsid()
    die_with_parent()
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 70
    try:
        install(out, fault, counter)
        code = work()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
