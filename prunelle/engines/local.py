"""Jobs on this machine: one process a core, one thread a process; results only through run folders."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from prunelle.engines.engine import Engine, Job, Watch, unwatched
from prunelle.engines.ledger import Ledger
from prunelle.engines.reaper import marked
from prunelle.engines.worker import raised, work
from prunelle.errors import SettingError, WorkError

if TYPE_CHECKING:
    from prunelle.engines.passing import Shared

MOST_STILLBORN = 3
END_SECONDS = 10


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int) -> None:
    """Raises SettingError for more workers than cores: that is how such searches grind to a halt."""
    if not 1 <= workers <= num_cores():
        raise SettingError(f"--workers {workers}: this machine gives {num_cores()} cores; pass 1 to {num_cores()}.")


def run_jobs(function: Job, jobs: Sequence, workers: int, watch: Watch = unwatched, shared: Any = None) -> list:
    """function(job, shared) for every job, on workers of this call alone; as `Engine.run` and `workers_of`."""
    with workers_of(workers, shared) as engine:
        return engine.run(function, jobs, watch)


@contextmanager
def workers_of(workers: int, shared: Any = None) -> Iterator[Engine]:
    """An engine of at most `workers` processes, which are started when there are jobs for them and end with the block.

    shared: what every job is given beside its own values, such as a Task on the CPU: sent once a worker, its tensors
    in memory once for all of them; to be read, not written. Classes in it are importable by name.
    Workers that die are replaced. They die with this process, however it ends, and at once on Ctrl-C.
    Raises SettingError for more workers than cores.
    """
    check_workers(workers)
    engine = Local(workers, shared)
    try:
        yield engine
    finally:
        engine.end()


@dataclass(eq=False)
class Worker:
    """The parent's side of a worker. death: a handle that can be read once it is dead. asked: to give jobs back."""

    process: BaseProcess
    pipe: Connection
    death: int
    ready: bool = False
    asked: bool = False

    def tell(self, word: str, given: Any = None) -> None:
        with suppress(OSError):  # it is dead, as `death` will say
            self.pipe.send((word, given))

    def said(self) -> list[tuple]:
        """What has come from it; a message torn by its death is left out."""
        found: list[tuple] = []
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                found.append(self.pipe.recv())
        return found


class Local:
    """Engine; `workers_of` makes it. Final."""

    def __init__(self, workers: int, shared: Any = None) -> None:
        self.workers = workers
        self.given = shared
        self.shared: Shared | None = None
        self.crew: list[Worker] = []
        self.stillborn = 0
        self.mark: int | None = None
        self.until_end = ExitStack()

    def run(self, function: Job, jobs: Sequence, watch: Watch = unwatched) -> list:
        from prunelle.engines.passing import dumps

        ledger: Ledger[Worker] = Ledger(len(jobs), self.workers)
        bodies = [dumps((function, job)) for job in jobs]

        def turn(seconds: float) -> None:
            self.staff(ledger)
            self.hand_out(ledger, bodies)
            self.hear(ledger, seconds)

        try:
            return ledger.drive(turn, watch)
        except BaseException:
            if ledger.num_open:  # not a job's error: Ctrl-C, or what the watcher raised
                self.kill()
            raise

    def staff(self, ledger: Ledger[Worker]) -> None:
        """Start the workers that are missing, none for more jobs than there are."""
        while len(self.crew) < min(self.workers, ledger.num_open) and ledger.error is None:
            self.crew.append(self.start())

    def start(self) -> Worker:
        from prunelle.engines.passing import Passed, Shared

        if self.given is not None and self.shared is None:
            self.shared = Shared.of(self.given)
            self.until_end.callback(self.shared.close)
        if self.mark is None:
            self.mark = self.until_end.enter_context(marked())
        held = None if self.mark is None else Passed(self.mark)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.shared, held))
        with theirs, interrupts_later():
            process.start()
        assert process.pid is not None
        # Not the pipe's end, which a process that a job started may hold open.
        death = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else os.dup(process.sentinel)
        return Worker(process, ours, death)

    def hand_out(self, ledger: Ledger[Worker], bodies: list[bytes]) -> None:
        """Jobs to whoever has none; what somebody has and does not get to is asked back."""
        for worker in self.crew:
            if worker.ready and (batch := ledger.batch(worker)):
                worker.tell("jobs", [(number, bodies[number]) for number in batch])
        for worker in ledger.to_ask():
            if not worker.asked:
                worker.asked = True
                worker.tell("give back")

    def hear(self, ledger: Ledger[Worker], seconds: float) -> None:
        """Take in what the workers say, for which it waits so long at most; bury the dead."""
        heard = set(wait([place for worker in self.crew for place in (worker.pipe, worker.death)], seconds))
        for worker in list(self.crew):
            if worker.pipe in heard or worker.death in heard:
                for word, *told in worker.said():
                    take_in(ledger, worker, word, told)
            if worker.death in heard:
                self.bury(ledger, worker)

    def bury(self, ledger: Ledger[Worker], worker: Worker) -> None:
        self.stillborn = 0 if worker.ready else self.stillborn + 1
        self.crew.remove(worker)
        put_away(worker)
        ledger.bury(worker)
        if self.stillborn >= MOST_STILLBORN:
            self.stillborn = 0
            ledger.stop(
                WorkError(
                    f"{MOST_STILLBORN} worker processes in a row died before they could begin; see what they wrote "
                    'above; a script of your own must start its work below `if __name__ == "__main__":`.'
                )
            )

    def kill(self) -> None:
        """End the workers now, whatever they do."""
        for worker in self.crew:
            worker.process.kill()
        for worker in self.crew:
            put_away(worker)
        self.crew.clear()

    def end(self) -> None:
        """Let idle workers end by themselves."""
        for worker in self.crew:
            worker.tell("end")
        for worker in self.crew:
            worker.process.join(END_SECONDS)
        self.kill()
        self.until_end.close()
        self.shared = self.mark = None


def take_in(ledger: Ledger[Worker], worker: Worker, word: str, told: list) -> None:
    """What a worker said."""
    from prunelle.engines.passing import loads

    worker.ready = True
    if word == "done":
        ledger.finish(worker, told[0], loads(told[1]))
    elif word == "failed":
        ledger.fail(worker, told[0], raised(told[1]))
    elif word == "given back":
        worker.asked = False
        ledger.give_back(worker, told[0])


def put_away(worker: Worker) -> None:
    """Let go of a worker that is dead or dying."""
    worker.process.join()
    worker.process.close()
    worker.pipe.close()
    os.close(worker.death)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back. Processes begun meanwhile never get it: in a terminal it would reach them too, and each would
    show a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
