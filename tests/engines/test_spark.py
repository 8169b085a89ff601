"""What the contract's tests do not ask of Spark: dead workers, orphans, Ctrl-C, and what is said."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from prunelle.engines import spark
from prunelle.engines.spark import run_jobs
from prunelle.errors import MissingExtraError, WorkError

SECONDS = 120
ORPHAN_SECONDS = 30

# Each job says that it has begun and waits; reading the pipe ends when the last worker is dead.
PARENT = """
    import os, signal, sys
    from prunelle.engines.spark import run_jobs

    def job(given, shared):
        pipe = os.open(given["pipe"], os.O_WRONLY)
        os.write(pipe, b"b")
        while True:
            signal.pause()

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_jobs(job, [{"pipe": sys.argv[1]}] * 2, workers=2)
"""


def add(job: dict, shared: dict) -> tuple[int, str | None]:
    return job["number"] + shared["more"], os.environ.get("OMP_NUM_THREADS")


def die_at_first(job: dict, shared: None) -> int:
    """Kills its worker unless one has died here before."""
    mark = Path(job["folder"]) / str(job["number"])
    if job["number"] == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job["number"]


def die(job: dict, shared: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.cluster
def test_jobs_in_batches_with_what_they_share(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ), signal.getsignal(signal.SIGINT)
    jobs = [{"number": number} for number in range(50)]
    assert run_jobs(add, jobs, 2, shared={"more": 7}) == [(number + 7, "1") for number in range(50)]
    assert capfd.readouterr() == ("", "")
    assert (dict(os.environ), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.cluster
def test_the_jobs_of_a_dead_worker_are_done_by_another(tmp_path: Path) -> None:
    jobs = [{"number": number, "folder": tmp_path} for number in range(6)]
    assert run_jobs(die_at_first, jobs, 1) == [*range(6)]
    with pytest.raises(WorkError, match=r"jobs from 1 on: Spark gave up after 3 tries \(.*; what was finished is kept"):
        run_jobs(die, jobs[:1], 1)


@pytest.mark.cluster
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(death: signal.Signals, tmp_path: Path) -> None:
    fifo, script = tmp_path / "pipe", tmp_path / "parent.py"
    os.mkfifo(fifo)
    script.write_text(textwrap.dedent(PARENT))
    parent = subprocess.Popen([sys.executable, script, fifo], stderr=subprocess.PIPE)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        begun = b""
        while len(begun) < 2:
            assert select.select([reader], [], [], SECONDS)[0], "the workers did not begin"
            begun += os.read(reader, 2)
        parent.send_signal(death)
        assert select.select([reader], [], [], ORPHAN_SECONDS)[0], "a worker lives on"
        assert os.read(reader, 1) == b""
        assert parent.wait(SECONDS) != 0
    finally:
        parent.kill()
        os.close(reader)


@pytest.mark.cluster
def test_java_that_does_not_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho Error: this Java is 8 >&2\necho bye\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        WorkError, match=r"^Spark did not start: Error: this Java is 8; see that Java is 17 or later\.$"
    ):
        run_jobs(add, [{}], 1)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pyspark is not installed; pip install 'prunelle\[spark\]'"):
        run_jobs(add, [{}], 1)
    monkeypatch.setattr(spark, "find_spec", lambda name: name)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingExtraError, match="there is no Java; install Java 17 or later, or set JAVA_HOME"):
        run_jobs(add, [{}], 1)
