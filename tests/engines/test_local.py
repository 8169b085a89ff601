import os
import pickle
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunelle import errors
from prunelle.engines.local import num_cores, run_jobs, workers_of
from prunelle.errors import DivergedError, PrunelleError, SettingError, WorkError

SECONDS = 60
ORPHAN_SECONDS = 10

# Each job says that it has begun and then works on; reading the pipe ends when the last worker is dead.
PARENT = """
    import os, signal, sys
    import torch
    from prunelle.engines.local import run_jobs

    def job(given, shared):
        assert shared.sum() == 1000
        pipe = os.open(given["pipe"], os.O_WRONLY)
        os.write(pipe, b"b")
        while True:
            signal.pause()

    if __name__ == "__main__":
        # A shell hands SIGINT down as ignored to what it starts in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_jobs(job, [{"pipe": sys.argv[1]}] * 2, workers=2, shared=torch.ones(1000))
"""

SLOW = """
    import os, signal, sys
    from prunelle.engines.local import run_jobs
    if __name__ == "__main__":
        run_jobs(print, [1], workers=1)
    pipe = os.open(sys.argv[1], os.O_WRONLY)
    os.write(pipe, b"i")
    while True:
        signal.pause()
"""

# A worker imports the script under another name.
STILLBORN = """
    import sys
    if __name__ != "__main__":
        sys.exit("not here")
    from prunelle.engines.local import run_jobs
    run_jobs(print, [1], workers=1)
"""


def in_time(condition: Callable[[], object]) -> None:
    """Wait until something comes true."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def process_id(job: object, shared: object) -> int:
    return os.getpid()


def kill_this_process(job: object, shared: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(job: dict, shared: object) -> tuple[int, int]:
    """(number, process), at the second try where the job is one that dies."""
    mark = job["folder"] / str(job["number"])
    if job["dies"] and not mark.exists():
        mark.touch()
        kill_this_process(job, shared)
    return job["number"], os.getpid()


def wait_for_others(job: dict, shared: object) -> None:
    """Job 0 ends when all others have; they end at once."""
    if job["number"]:
        (job["folder"] / str(job["number"])).touch()
    else:
        in_time(lambda: len(list(job["folder"].iterdir())) == job["others"])


def meet(job: int, shared: dict) -> tuple[float, int]:
    """(sum that both see, process): two jobs that each write one number and wait for the other's."""
    shared["met"][job] = 1
    in_time(lambda: bool(shared["met"].all()))
    return float(shared["numbers"].sum()), os.getpid()


def fail_in_a_way(job: str, shared: object) -> None:
    if job == "leaves":
        sys.exit(3)
    if job == "cannot travel":
        raise Untravelled("one", "two")
    raise ValueError(job)


class Untravelled(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def engine():
    with workers_of(min(2, num_cores())) as made:
        yield made


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


def read(reader: int, seconds: float = SECONDS) -> bytes:
    assert select.select([reader], [], [], seconds)[0], "nothing came"
    return os.read(reader, 1)


def test_workers_die_with_their_parent_and_leave_nothing(parent) -> None:
    process, reader = parent
    family = [process.pid, *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    process.kill()
    assert read(reader, ORPHAN_SECONDS) == b""
    named = re.compile("|".join(rf"(?<!\d){number}(?!\d)" for number in family))
    assert [name for name in os.listdir("/dev/shm") if named.search(name)] == []


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


def test_a_worker_that_still_imports_dies_with_its_parent(tmp_path: Path) -> None:
    """It hears nothing yet. It holds the pipe open that tells of its end."""
    script, pipe = tmp_path / "slow.py", tmp_path / "pipe"
    script.write_text(textwrap.dedent(SLOW))
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, script, pipe], start_new_session=True)
    reader = os.open(pipe, os.O_RDONLY)
    assert read(reader) == b"i"
    process.kill()
    assert read(reader, ORPHAN_SECONDS) == b""
    os.close(reader)
    process.wait()


def test_waves_of_jobs_have_the_same_workers(engine) -> None:
    first = engine.run(process_id, range(50))
    second = engine.run(process_id, range(50))
    everyone = {*first, *second}  # one of them may come to the second wave only: starting takes longer than 50 jobs
    assert everyone <= {worker.process.pid for worker in engine.crew} and len(engine.crew) <= engine.workers
    assert os.getpid() not in everyone


def test_an_idle_worker_that_is_killed_is_replaced(engine) -> None:
    before = set(engine.run(process_id, range(50)))
    for process in before:
        os.kill(process, signal.SIGKILL)
    after = engine.run(process_id, range(50))
    assert not before & set(after)


def test_jobs_of_a_killed_worker_are_done_by_another(engine, tmp_path: Path) -> None:
    jobs = [{"number": n, "dies": n == 3, "folder": tmp_path} for n in range(60)]
    found = engine.run(die_once, jobs)
    assert [number for number, _ in found] == list(range(60))
    assert len({process for _, process in found}) > 1
    assert [mark.name for mark in tmp_path.iterdir()] == ["3"]


def test_a_job_that_kills_three_workers_is_one_sentence() -> None:
    with pytest.raises(WorkError) as caught:
        run_jobs(kill_this_process, [0, 1], workers=1)
    assert str(caught.value) == (
        "job 1 of 2: its worker process was killed 3 times, by hand or for want of memory; finished runs are kept: "
        "start the same command again, with fewer --workers if memory is short."
    )
    assert caught.value.exit_code == 1


@pytest.mark.skipif(num_cores() < 2, reason="needs 2 cores")
def test_nobody_is_idle_while_another_has_jobs_waiting(engine, tmp_path: Path) -> None:
    """Job 0 comes in a batch with others, which would never be done if they had to wait for it."""
    jobs = [{"number": number, "folder": tmp_path, "others": 29} for number in range(30)]
    engine.run(wait_for_others, jobs)


@pytest.mark.skipif(num_cores() < 2, reason="needs 2 cores")
def test_what_is_shared_stands_in_memory_once() -> None:
    shared = {"numbers": torch.arange(5.0), "met": torch.zeros(2)}
    with workers_of(2, shared) as two:
        found = two.run(meet, [0, 1])
        assert len({process for _, process in found}) == 2
        assert [total for total, _ in found] == [10, 10]
        os.kill(found[0][1], signal.SIGKILL)
        assert [total for total, _ in two.run(meet, [0, 1])] == [10, 10]  # the new one has it too
    assert shared["met"].sum() == 0  # workers write to the copy that they share


@pytest.mark.parametrize(
    ("way", "kind", "said"),
    [
        ("plain", ValueError, "^plain$"),
        ("leaves", SystemExit, "^3$"),
        ("cannot travel", WorkError, "^a job failed with Untravelled: one and two$"),
    ],
)
def test_an_error_of_a_job_arrives_and_the_engine_goes_on(engine, way: str, kind: type, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        engine.run(fail_in_a_way, [way])
    assert "in fail_in_a_way" in str(caught.value.__cause__)
    assert engine.run(process_id, [0])


def test_what_the_watcher_raises_stops_everything_and_the_engine_goes_on(engine, tmp_path: Path) -> None:
    before = set(engine.run(process_id, range(50)))

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        engine.run(wait_for_others, [{"number": 0, "folder": tmp_path, "others": -1}], stop)
    assert not before & set(engine.run(process_id, range(50)))


def test_workers_that_die_before_they_begin_are_told(tmp_path: Path) -> None:
    script = tmp_path / "stillborn.py"
    script.write_text(textwrap.dedent(STILLBORN))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr.splitlines().count("not here") == 3
    assert done.stderr.rstrip().splitlines()[-1] == (
        "prunelle.errors.WorkError: 3 worker processes in a row died before they could begin; see what they wrote "
        'above; a script of your own must start its work below `if __name__ == "__main__":`.'
    )


@pytest.mark.parametrize("workers", [0, num_cores() + 1])
def test_more_workers_than_cores_are_refused(workers: int) -> None:
    cores = num_cores()
    with pytest.raises(SettingError) as caught:
        run_jobs(process_id, [0], workers)
    assert str(caught.value) == f"--workers {workers}: this machine gives {cores} cores; pass 1 to {cores}."


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
