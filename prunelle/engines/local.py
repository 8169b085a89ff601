"""Jobs on this machine: one process a core, one thread a process; results only through run folders."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from prunelle.errors import PrunelleError, SettingError, WorkError

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.5

Watch = Callable[[], None]
"""Called every half second while jobs run, to draw progress."""


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(function: Callable, jobs: Sequence[dict], workers: int, watch: Watch = lambda: None) -> list:
    """function(job) for every job, at most `workers` at once, each in a process with one thread.

    function: importable by name. jobs: plain values. Returns the results in the jobs' order. The first error stops
    jobs that have not begun and is raised; a worker that was killed raises WorkError. More workers than cores are
    refused (SettingError): that is how such searches grind to a halt. Workers die with this process.
    """
    if workers > num_cores():
        raise SettingError(f"--workers {workers}: this machine gives {num_cores()} cores; pass at most as many.")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=settle, initargs=(os.getpid(),)) as pool:
        futures = [pool.submit(function, job) for job in jobs]
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                watch()
                for future in done:
                    future.result()
        except BrokenProcessPool:
            raise WorkError(
                "a worker process was killed; finished runs are kept: start the same command again."
            ) from None
        except (PrunelleError, KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def settle(parent: int) -> None:
    """Make this worker quiet company: one thread, no Ctrl-C of its own, no life after its parent's."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_getaffinity"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
