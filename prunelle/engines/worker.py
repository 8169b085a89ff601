"""What a worker does, whoever started it: takes jobs one by one, hands back what it has not begun."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from prunelle.errors import WorkError

if TYPE_CHECKING:
    from prunelle.engines.passing import Shared

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Queue:
    """Jobs that were given to this worker and are not begun, as (number, job); safe between threads. Final."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[int, Any]] = deque()
        self.changed = threading.Condition()
        self.ended = False

    def add(self, jobs: list[tuple[int, Any]]) -> None:
        with self.changed:
            self.jobs.extend(jobs)
            self.changed.notify()

    def end(self) -> None:
        """Nothing more will come."""
        with self.changed:
            self.ended = True
            self.changed.notify()

    def give_back(self) -> list[int]:
        """Numbers of the jobs that will now not be begun here."""
        with self.changed:
            numbers = [number for number, _ in self.jobs]
            self.jobs.clear()
            return numbers

    def next(self) -> tuple[int, Any] | None:
        """The next job, waiting for it; None when there will be no more."""
        with self.changed:
            self.changed.wait_for(lambda: self.jobs or self.ended)
            return self.jobs.popleft() if self.jobs else None


class Wire:
    """The worker's end of the pipe to its parent, which is its lifeline too. Final."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.queue = Queue()
        self.sending = threading.Lock()

    def say(self, word: str, *told: Any) -> None:
        with self.sending:
            self.pipe.send((word, *told))

    def listen(self) -> None:
        """Do what the parent says, and end this process when the parent is gone or gives up. What is half done is
        resumed like after a kill."""
        try:
            while True:
                word, given = self.pipe.recv()
                if word == "jobs":
                    self.queue.add(given)
                elif word == "give back":
                    self.say("given back", self.queue.give_back())
                else:
                    self.queue.end()
        except (EOFError, OSError):
            os._exit(1)


def work(pipe: Connection, shared: Shared | None, mark: object = None) -> None:
    """Be a worker process until the parent says `end`. mark: a file held open, by which the reaper knows it.

    The parent sends ("jobs", [(number, (function, job) as bytes)]), ("give back", None) and ("end", None); it hears
    ("ready",), ("done", number, result as bytes), ("failed", number, error as bytes), ("given back", numbers).
    """
    wire = Wire(pipe)
    threading.Thread(target=wire.listen, daemon=True).start()
    os.environ |= ONE_THREAD
    # Imported here because it takes seconds, in which the parent may die.
    import torch

    torch.set_num_threads(1)
    value, refused = None, None
    try:
        value = None if shared is None else shared.open()
    except Exception as error:  # such as a module that cannot be imported here: every job says so
        refused = error
    wire.say("ready")
    while (taken := wire.queue.next()) is not None:
        number, body = taken
        word, told = attempt(partial(do, body, value, refused))
        if word == "failed":
            wire.queue.give_back()
        wire.say(word, number, told)
    leave()


def leave() -> None:
    """End this process and what it has started, without the half second that Python takes to take torch down."""
    for child in multiprocessing.active_children():
        child.terminate()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def do(body: bytes, shared: Any, refused: Exception | None) -> Any:
    """The result of the job in these bytes."""
    from prunelle.engines.passing import loads

    if refused is not None:
        raise refused
    function, job = loads(body)
    return function(job, shared)


class Trace(Exception):
    """Where an error was raised, in another process."""


def attempt(job: Callable[[], Any]) -> tuple[str, bytes]:
    """("done", result) or ("failed", error), as bytes; `raised` reads the latter."""
    from prunelle.engines.passing import dumps, loads

    try:
        return "done", dumps(job())
    except BaseException as error:  # also a job that calls sys.exit is no reason for the worker to go
        trace = traceback.format_exc()
        try:
            body = dumps((error, trace))
            loads(body)
        except Exception:
            body = dumps((WorkError(f"a job failed with {type(error).__name__}: {error}"), trace))
        return "failed", body


def raised(body: bytes) -> BaseException:
    """The error of a job; its cause tells where it was raised."""
    from prunelle.engines.passing import loads

    error, trace = loads(body)
    error.__cause__ = Trace(trace)
    return error
