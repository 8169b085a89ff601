"""Jobs on this machine: one process a core, one thread a process; results only through run folders."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection

from prunelle.errors import SettingError, WorkError

POLL_SECONDS = 0.5

Watch = Callable[[], None]
"""Called every half second while jobs run, to draw progress."""


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(function: Callable, jobs: Sequence[dict], workers: int, watch: Watch = lambda: None) -> list:
    """function(job) for every job, at most `workers` at once, each in a process with one thread.

    function: importable by name. jobs: plain values. Returns the results in the jobs' order. The first error is
    raised when the jobs already begun have ended; the others are not begun. A worker that was killed raises
    WorkError. More workers than cores are refused (SettingError): that is how such searches grind to a halt.
    Workers die with this process, and at once on Ctrl-C.
    """
    if workers > num_cores():
        raise SettingError(f"--workers {workers}: this machine gives {num_cores()} cores; pass at most as many.")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with ours, theirs, ProcessPoolExecutor(workers, context, initializer=settle, initargs=(ours,)) as pool:
        try:
            with interrupts_later():
                futures = [pool.submit(function, job) for job in jobs]
            collect(futures, watch)
        except BrokenProcessPool:
            raise WorkError(
                "a worker process was killed, by hand or for want of memory; finished runs are kept: start the same "
                "command again."
            ) from None
        except KeyboardInterrupt:
            theirs.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def collect(futures: list[Future], watch: Watch) -> None:
    """Wait for all. Raises the first error."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        watch()
        for future in done:
            future.result()


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back. Processes begun meanwhile never get it: in a terminal it would reach them too, and each would
    show a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle(lifeline: Connection) -> None:
    """Make this worker quiet company: one thread, and no life after its parent's.

    lifeline: a pipe nothing is ever written to; its other end closes when the parent dies, or gives up.
    """
    threading.Thread(target=die_with, args=(lifeline,), daemon=True).start()
    # Imported here because it takes seconds, in which the parent may die.
    import torch

    torch.set_num_threads(1)


def die_with(lifeline: Connection) -> None:
    """End this process when the other end of the pipe closes. What is half done is resumed like after a kill."""
    lifeline.poll(None)
    os._exit(1)
