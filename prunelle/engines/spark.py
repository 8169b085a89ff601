"""Jobs on Spark: on a cluster that is there, or on processes that Spark starts here.

Every worker needs this very Python and these folders, on a cluster too. A few jobs are one Spark job of one task: Spark
tries it again where a worker died, an error stops what has not begun, and the fifth of a second it takes is shared.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import IO, Any

from prunelle.engines.engine import WATCH_SECONDS, Job, Watch, unwatched
from prunelle.engines.local import check_workers
from prunelle.engines.worker import ONE_THREAD, attempt, do, raised
from prunelle.errors import MissingExtraError, WorkError

MOST_DEATHS = 3
LARGEST_BATCH = 16
BATCHES = 8
"""Batches a worker, at least: at the end none waits long for another."""
END_SECONDS = 10
PYTHONS = ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")
SETTINGS = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
SETTINGS |= {"spark.task.maxFailures": str(MOST_DEATHS)}
HERE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


def run_jobs(
    function: Job,
    jobs: Sequence,
    workers: int,
    watch: Watch = unwatched,
    shared: Any = None,
    address: str | None = None,
) -> list:
    """function(job, shared) for every job, as `engine.Engine.run`; `workers` at once.

    address: of a Spark master, such as spark://host:7077; None starts `workers` processes here.
    Raises MissingExtraError without pyspark or Java, SettingError for more local workers than cores, WorkError where
    Spark does not start or a job has killed its worker three times.
    """
    check_installed()
    if address is None:
        check_workers(workers)
    if not jobs:
        return []
    from pyspark.cloudpickle import dumps  # which brings also what a script defines itself

    with spark(workers, address) as context, ThreadPoolExecutor(workers) as pool:
        sent = context.broadcast(shared)
        try:
            bodies = [dumps((function, job)) for job in jobs]
            size = max(1, min(LARGEST_BATCH, len(jobs) // (BATCHES * workers)))
            starts = range(0, len(jobs), size)
            futures = [pool.submit(batch, context, sent, at, bodies[at : at + size]) for at in starts]
            collect(futures, watch)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):  # Ctrl-C; after an error, what has begun may end
                context.cancelAllJobs()
            raise
    return [result for future in futures for result in future.result()]


def check_installed() -> None:
    """Raises MissingExtraError."""
    if find_spec("pyspark") is None:
        raise MissingExtraError("--engine spark: pyspark is not installed; pip install 'prunelle[spark]'.")
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=os.path.join(home, "bin") if home else None) is None:
        raise MissingExtraError("--engine spark: there is no Java; install Java 17 or later, or set JAVA_HOME.")


def collect(futures: list[Future], watch: Watch) -> None:
    """Wait for all. Raises the first error."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=WATCH_SECONDS, return_when=FIRST_COMPLETED)
        watch()
        for future in done:
            future.result()


def batch(context: Any, sent: Any, first: int, bodies: list[bytes]) -> list:
    """The results of some jobs, of which the first has that number. Raises the error of one."""
    from py4j.protocol import Py4JJavaError

    from prunelle.engines.passing import loads

    try:
        (outcomes,) = context.parallelize([bodies], 1).map(partial(task, sent)).collect()
    except Py4JJavaError as error:
        reason = " ".join(str(error.java_exception.getMessage()).splitlines()[:1])[:300]
        raise WorkError(
            f"jobs from {first + 1} on: Spark gave up after {MOST_DEATHS} tries ({reason}); what was finished is kept: "
            "start the same command again, with fewer --workers if memory is short."
        ) from None
    for word, told in outcomes:
        if word == "failed":
            raise raised(told)
    return [loads(told) for _, told in outcomes]


def task(sent: Any, bodies: list[bytes]) -> list[tuple[str, bytes]]:
    """In a worker: what became of these jobs, up to the first that fails. sent: the broadcast value, read once."""
    outcomes: list[tuple[str, bytes]] = []
    for body in bodies:
        outcomes.append(attempt(partial(broadcast_do, body, sent)))
        if outcomes[-1][0] == "failed":
            break
    return outcomes


def broadcast_do(body: bytes, sent: Any) -> Any:
    """The result of the job in these bytes; what keeps `sent` from being read is the job's error."""
    return do(body, sent.value, None)


@contextmanager
def spark(workers: int, address: str | None) -> Iterator[Any]:
    """A SparkContext, with a Java process of its own that ends with the block, or with this process.

    Raises WorkError, with Java's last words, where it does not start.
    """
    from pyspark import SparkConf, SparkContext

    conf = SparkConf().setMaster(address or f"local[{workers},{MOST_DEATHS}]").setAppName("prunelle")
    conf.setAll(list((SETTINGS if address else SETTINGS | HERE).items()))
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        stack.enter_context(same_python())
        try:
            gateway = stack.enter_context(java(conf, log))
            context = SparkContext(conf=conf, gateway=gateway, environment=worker_environment())
        except Exception as error:
            reason = last_words(log) or str(error).splitlines()[0]
            raise WorkError(f"Spark did not start: {reason}; see that Java is 17 or later.") from None
        try:
            yield context
        finally:
            with suppress(Exception):  # Java may be gone
                context.stop()


def worker_environment() -> dict[str, str]:
    """One thread, and what can be imported here can be there."""
    return {**ONE_THREAD, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


@contextmanager
def java(conf: Any, log: IO[bytes]) -> Iterator[Any]:
    """A Java process for a SparkContext; what it writes goes to `log`.

    It is in a session of its own: Ctrl-C is for this process. The end of its input ends it, however this one dies.
    """
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    before = SparkContext._gateway, SparkContext._jvm  # a user's own, whose Java must not get our log
    gateway: Any = launch_gateway(conf, {"stdout": log, "stderr": log, "start_new_session": True})
    SparkContext._gateway = SparkContext._jvm = None
    try:
        yield gateway
    finally:
        SparkContext._gateway, SparkContext._jvm = before
        with suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
            gateway.proc.wait()


@contextmanager
def same_python() -> Iterator[None]:
    """Workers run this interpreter; afterwards the environment, to which Spark adds, and Ctrl-C are what they were."""
    before, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    os.environ |= dict.fromkeys(PYTHONS, sys.executable)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ |= before
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def last_words(log: IO[bytes]) -> str:
    """The last line that tells of an error, else the last."""
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "Exception" in line or "Error" in line]
    return (told or lines or [""])[-1][:300]
