"""Jobs on Ray: on a cluster that is there, or on processes that Ray starts here and that go with this one.

Jobs write their runs where they run: on a cluster, OUT must lie on a file system that all its machines share, the data
must stand at the same place on each, and this package must be installed there.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunelle.engines.engine import Engine, Job, Watch, unwatched
from prunelle.engines.ledger import Ledger
from prunelle.engines.local import check_workers
from prunelle.engines.member import Member
from prunelle.engines.reaper import reaped
from prunelle.engines.worker import raised
from prunelle.errors import MissingExtraError, SettingError, WorkError

MOST_STILLBORN = 3
ANSWER_SECONDS = 10
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Nothing is reported home; no warning about a GPU that nobody asked for, and none on stdout when a worker dies."""


def run_jobs(
    function: Job,
    jobs: Sequence,
    workers: int,
    watch: Watch = unwatched,
    shared: Any = None,
    address: str | None = None,
) -> list:
    """function(job, shared) for every job, on workers of this call alone; as `Engine.run` and `workers_of`."""
    with workers_of(workers, shared, address) as engine:
        return engine.run(function, jobs, watch)


@contextmanager
def workers_of(workers: int, shared: Any = None, address: str | None = None) -> Iterator[Engine]:
    """An engine of `workers` Ray actors with one core and one thread each, which end with the block.

    shared: what every job is given beside its own values, such as a Task on the CPU: once in each machine's object
    store, where all workers there read its tensors; nobody may write to them. Classes in it are importable by name.
    address: of a cluster, as ray.init takes it; None = RAY_ADDRESS, else a Ray of its own on this machine, which ends
    with the block or with this process, however it ends. A Ray that this process is connected to already is used.
    Raises MissingExtraError without Ray, SettingError for more workers than cores, WorkError without a cluster there.
    """
    ray = import_ray()
    with connected(ray, workers, address):
        engine = OnRay(ray, workers, shared)
        try:
            yield engine
        finally:
            engine.end()


def import_ray() -> Any:
    """Raises MissingExtraError."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray: ray is not installed; pip install 'prunelle[ray]'.") from error
    return ray


@contextmanager
def connected(ray: Any, workers: int, address: str | None) -> Iterator[None]:
    """A Ray with so many cores, let go at the end unless it was there before."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as stack:
        if ray.is_initialized():
            known = ray.get_runtime_context().gcs_address
            if address not in (None, known):
                raise SettingError(
                    f"ray: asked for {address}, but this process has a Ray at {known}; shut it down first."
                )
            check_cluster(ray, workers)
        elif (address := address or os.environ.get("RAY_ADDRESS") or "local") != "local":
            check_answers(address)
            stack.callback(ray.shutdown)
            try:
                ray.init(address, **quiet)
            except ConnectionError:
                raise WorkError(
                    f"ray: the cluster at {address} did not let this process in; see that it runs, and where it asks "
                    "for tokens set RAY_AUTH_MODE=token."
                ) from None
            check_cluster(ray, workers)
        else:
            check_workers(workers)
            # A killed driver leaves two of Ray's agents behind for a minute.
            folder = stack.enter_context(reaped())
            stack.callback(ray.shutdown)
            try:
                ray.init("local", num_cpus=workers, include_dashboard=False, _temp_dir=folder, **quiet)
            except (ConnectionError, ray.exceptions.RayError) as error:
                said = (str(error).splitlines() or [""])[0]
                raise WorkError(
                    f"ray: its servers did not start here ({said}); start the same command again when this machine is "
                    "less busy, or take --engine local."
                ) from None
        yield


def check_answers(address: str) -> None:
    """Raises WorkError where nobody listens, which Ray itself takes two minutes to say."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():  # a word such as "auto"
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise WorkError(f"ray: no cluster answers at {address} ({error}); give the address of one.") from None


def check_cluster(ray: Any, workers: int) -> None:
    """Raises SettingError for more workers than the cluster has cores."""
    cores = int(ray.cluster_resources().get("CPU", 0))
    if not 1 <= workers <= cores:
        raise SettingError(f"--workers {workers}: this Ray has {cores} cores; pass 1 to {cores}.")


@dataclass(eq=False)
class Worker:
    """The driver's side of an actor. calls: what it was asked and has not answered, {reference: method}."""

    actor: Any
    calls: dict[Any, str]
    ready: bool = False

    def call(self, method: str, *given: Any) -> None:
        self.calls[getattr(self.actor, method).remote(*given)] = method


class OnRay:
    """Engine; `workers_of` makes it. Final."""

    def __init__(self, ray: Any, workers: int, shared: Any) -> None:
        from prunelle.engines.passing import dumps_apart

        self.ray = ray
        self.workers = workers
        body, arrays = dumps_apart(shared)
        self.packed = ray.put((body, [np.frombuffer(array, np.uint8) for array in arrays]))
        self.crew: list[Worker] = []
        self.stillborn = 0

    def run(self, function: Job, jobs: Sequence, watch: Watch = unwatched) -> list:
        ledger: Ledger[Worker] = Ledger(len(jobs), self.workers)
        # Ray's own way, which brings also what a script defines itself.
        bodies = [self.ray.cloudpickle.dumps((function, job)) for job in jobs]

        def turn(seconds: float) -> None:
            self.staff(ledger)
            self.hand_out(ledger, bodies)
            self.hear(ledger, seconds)

        self.settle()
        try:
            return ledger.drive(turn, watch)
        except BaseException:
            if ledger.num_open:  # not a job's error: Ctrl-C, or what the watcher raised
                self.end()
            raise

    def settle(self) -> None:
        """Await what was asked for the last jobs, so that no answer is taken to be about these."""
        asked = [reference for worker in self.crew for reference, method in worker.calls.items() if method != "ready"]
        if asked:
            self.ray.wait(asked, num_returns=len(asked))
        for worker in self.crew:
            worker.calls = {reference: method for reference, method in worker.calls.items() if method == "ready"}

    def staff(self, ledger: Ledger[Worker]) -> None:
        """Start the actors that are missing, none for more jobs than there are."""
        while len(self.crew) < min(self.workers, ledger.num_open) and ledger.error is None:
            make = self.ray.remote(num_cpus=1, max_concurrency=2, max_restarts=0, max_task_retries=0)
            worker = Worker(make(Member).remote(self.packed, sys.path, os.getcwd()), {})
            worker.call("ready")
            self.crew.append(worker)

    def hand_out(self, ledger: Ledger[Worker], bodies: list[bytes]) -> None:
        """Jobs to whoever has none; what somebody has and does not get to is asked back."""
        for worker in self.crew:
            if worker.ready and (batch := ledger.batch(worker)):
                worker.call("work", [(number, bodies[number]) for number in batch])
        for worker in ledger.to_ask():
            if "give_back" not in worker.calls.values():
                worker.call("give_back")

    def hear(self, ledger: Ledger[Worker], seconds: float) -> None:
        """Take in what the actors answer, for which it waits so long at most; bury the dead."""
        calls = {reference: worker for worker in self.crew for reference in worker.calls}
        found, rest = self.ray.wait(list(calls), timeout=seconds)
        more = self.ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else []
        for reference in (*found, *more):
            worker = calls[reference]
            if worker not in self.crew:
                continue
            try:
                answer = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:
                ledger.stop(error.cause)
                self.bury(ledger, worker, error)
            except self.ray.exceptions.RayError as error:
                self.bury(ledger, worker, error)
            else:
                take_in(ledger, worker, worker.calls.pop(reference), answer)

    def bury(self, ledger: Ledger[Worker], worker: Worker, error: Exception) -> None:
        self.stillborn = 0 if worker.ready else self.stillborn + 1
        self.crew.remove(worker)
        self.ray.kill(worker.actor)
        ledger.bury(worker)
        if self.stillborn >= MOST_STILLBORN:
            self.stillborn = 0
            said = (str(error).splitlines() or [""])[0]
            ledger.stop(WorkError(f"ray: {MOST_STILLBORN} workers in a row died before they could begin ({said})."))

    def end(self) -> None:
        """End the actors now."""
        for worker in self.crew:
            with suppress(Exception):  # of a cluster that is gone
                self.ray.kill(worker.actor)
        self.crew.clear()


def take_in(ledger: Ledger[Worker], worker: Worker, method: str, answer: Any) -> None:
    """What an actor answered."""
    from prunelle.engines.passing import loads

    worker.ready = True
    if method == "give_back":
        ledger.give_back(worker, answer)
    elif method == "work":
        for number, word, body in answer:
            if word == "done":
                ledger.finish(worker, number, loads(body))
            else:
                ledger.fail(worker, number, raised(body))
