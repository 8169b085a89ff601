import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from prunelle import errors
from prunelle.engines.local import num_cores, run_jobs
from prunelle.errors import DivergedError, PrunelleError, SettingError, WorkError

SECONDS = 60

# Each job says that it has begun and then works on; reading the pipe ends when the last worker is dead.
PARENT = """
    import os, signal, sys
    from prunelle.engines.local import run_jobs

    def job(given):
        pipe = os.open(given["pipe"], os.O_WRONLY)
        os.write(pipe, b"b")
        while True:
            signal.pause()

    if __name__ == "__main__":
        # A shell hands SIGINT down as ignored to what it starts in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_jobs(job, [{"pipe": sys.argv[1]}] * 2, workers=2)
"""


def kill_this_process(job: dict) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def parent(tmp_path: Path):
    """(the process, the pipe) of a script whose two workers are both at a job that never ends."""
    if num_cores() < 2:
        pytest.skip("needs 2 cores")
    script, pipe = tmp_path / "parent.py", tmp_path / "pipe"
    script.write_text(textwrap.dedent(PARENT))
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, script, pipe], stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    reader = os.open(pipe, os.O_RDONLY)  # waits for the first worker
    begun = b""
    while len(begun) < 2:
        begun += read(reader)
    yield process, reader
    os.close(reader)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def read(reader: int) -> bytes:
    assert select.select([reader], [], [], SECONDS)[0], "nothing came"
    return os.read(reader, 1)


def test_workers_die_with_their_parent(parent) -> None:
    process, reader = parent
    process.kill()
    assert read(reader) == b""


@pytest.mark.parametrize("everyone", [True, False])
def test_an_interrupt_stops_everyone_at_once_and_no_worker_complains(parent, everyone: bool) -> None:
    """everyone: Ctrl-C in a terminal reaches the workers as well; kill -INT only the parent."""
    process, reader = parent
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
    assert read(reader) == b""
    _, complaints = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGINT
    assert complaints.count("Traceback") == 1  # the script's own
    assert complaints.rstrip().endswith("KeyboardInterrupt")


def test_a_killed_worker_is_one_sentence() -> None:
    with pytest.raises(WorkError) as caught:
        run_jobs(kill_this_process, [{}, {}], workers=1)
    assert str(caught.value) == (
        "a worker process was killed, by hand or for want of memory; finished runs are kept: start the same command "
        "again."
    )
    assert caught.value.exit_code == 1


def test_more_workers_than_cores_are_refused() -> None:
    cores = num_cores()
    with pytest.raises(SettingError) as caught:
        run_jobs(kill_this_process, [{}], workers=cores + 1)
    assert str(caught.value) == f"--workers {cores + 1}: this machine gives {cores} cores; pass at most as many."


def test_no_jobs_give_no_results() -> None:
    assert run_jobs(kill_this_process, [], workers=1) == []


ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PrunelleError)]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_travels_between_processes(kind: type[PrunelleError]) -> None:
    error = pickle.loads(pickle.dumps(kind("where: what.")))
    assert type(error) is kind
    assert (str(error), error.exit_code) == ("where: what.", kind.exit_code)


def test_a_divergence_brings_its_last_good_weights() -> None:
    assert pickle.loads(pickle.dumps(DivergedError("m", last_good=[1.0]))).last_good == [1.0]
