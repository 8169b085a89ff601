"""Which job is where: waiting, held by a worker, or done. Knows no processes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from prunelle.engines.engine import WATCH_SECONDS, Watch
from prunelle.errors import WorkError

LARGEST_BATCH = 16
MOST_DEATHS = 3

Worker = TypeVar("Worker")


class Ledger(Generic[Worker]):
    """Jobs 0..num_jobs-1 and where each of them is. Final.

    Workers take batches, so that short jobs do not wait for a message each; the batches shrink as the jobs run out. A
    worker with nothing to do gets what another one holds and has not begun.
    """

    def __init__(self, num_jobs: int, workers: int) -> None:
        self.workers = workers
        self.waiting = deque(range(num_jobs))
        self.held: dict[Worker, deque[int]] = {}
        self.results: dict[int, Any] = {}
        self.deaths: Counter[int] = Counter()
        self.error: BaseException | None = None
        self.num_jobs = num_jobs

    @property
    def num_open(self) -> int:
        """Jobs that wait or are held."""
        return len(self.waiting) + sum(map(len, self.held.values()))

    def batch(self, worker: Worker) -> list[int]:
        """Jobs for a worker, none while it holds some. A job that killed a worker goes alone, so that it is known."""
        if self.held.get(worker) or not self.waiting:
            return []
        size = min(LARGEST_BATCH, len(self.waiting) // (2 * self.workers))
        taken = [self.waiting.popleft()]
        while len(taken) < size and not any(self.deaths[number] for number in (taken[0], self.waiting[0])):
            taken.append(self.waiting.popleft())
        self.held[worker] = deque(taken)
        return taken

    def finish(self, worker: Worker, number: int, result: Any) -> None:
        self.held[worker].remove(number)
        self.results[number] = result

    def fail(self, worker: Worker, number: int, error: BaseException) -> None:
        """Keep the first error, and begin nothing more; the worker drops what else it held."""
        self.held[worker].clear()
        self.stop(error)

    def stop(self, error: BaseException) -> None:
        self.error = self.error or error
        self.waiting.clear()

    def give_back(self, worker: Worker, numbers: list[int]) -> None:
        """What a worker held and had not begun waits again; after an error it is dropped, as it may have been."""
        held = self.held.get(worker, deque())
        returned = [number for number in numbers if number in held]
        for number in returned:
            held.remove(number)
        if self.error is None:
            self.waiting.extendleft(reversed(returned))

    def bury(self, worker: Worker) -> None:
        """A worker has died: the first job it held was at work, and is blamed; all wait again."""
        left = self.held.pop(worker, deque())
        if not left or self.error is not None:
            return
        self.deaths[left[0]] += 1
        if self.deaths[left[0]] >= MOST_DEATHS:
            self.stop(
                WorkError(
                    f"job {left[0] + 1} of {self.num_jobs}: its worker process was killed {MOST_DEATHS} times, by hand "
                    "or for want of memory; finished runs are kept: start the same command again, with fewer --workers "
                    "if memory is short."
                )
            )
        else:
            self.waiting.extendleft(reversed(left))

    def to_ask(self) -> list[Worker]:
        """Workers that should hand back what they have not begun: after an error all, else, where nothing waits and
        another is idle, the one that holds most."""
        hoarding = [worker for worker, jobs in self.held.items() if len(jobs) > 1]
        if self.error is not None:
            return hoarding
        busy = sum(1 for jobs in self.held.values() if jobs)
        if self.waiting or busy >= self.workers:
            return []
        return sorted(hoarding, key=lambda worker: -len(self.held[worker]))[:1]

    def drive(self, turn: Callable[[float], None], watch: Watch) -> list:
        """Take turns until nothing is open; the results in the jobs' order. Raises the first error.

        turn: hands out what can be handed out, then waits so many seconds at most for something to come back.
        """
        watched = time.monotonic()
        while self.num_open:
            turn(max(0.0, watched + WATCH_SECONDS - time.monotonic()))
            if time.monotonic() >= watched + WATCH_SECONDS:
                watch()
                watched = time.monotonic()
        watch()
        if self.error is not None:
            raise self.error
        return [self.results[number] for number in range(self.num_jobs)]
