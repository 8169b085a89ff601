import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from prunelle.engines.ray import check_answers, connected, run_jobs, workers_of
from prunelle.engines.reaper import reaped
from prunelle.errors import DivergedError, MissingExtraError, SettingError, WorkError

SECONDS = 120
ORPHAN_SECONDS = 30
CORES = 2

# The jobs stand in the script itself, which a worker of Ray cannot import.
PARENT = """
    import signal, sys, time
    from pathlib import Path
    import torch
    from prunelle.engines.ray import check_answers, run_jobs

    def job(given, shared):
        assert shared.sum() == 1000
        Path(given).touch()
        while sys.argv[2:] == ["for ever"] or given.endswith("for ever"):
            time.sleep(1)

    if __name__ == "__main__":
        # A shell hands SIGINT down as ignored to what it starts in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_jobs(job, [f"{sys.argv[1]}/{n}{' '.join(sys.argv[2:])}" for n in range(2)], 2, shared=torch.ones(1000))
"""


DRIVER = """
    from prunelle.engines.ray import check_answers, run_jobs

    def job(given, shared):
        return given + shared

    if __name__ == "__main__":
        print(run_jobs(job, [1, 2], 2, shared=1))
"""


def in_time(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until something comes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def process_id(job: object, shared: object) -> int:
    return os.getpid()


def kill_this_process(job: object, shared: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(job: dict, shared: object) -> int:
    mark = job["folder"] / str(job["number"])
    if job["number"] == 3 and not mark.exists():
        mark.touch()
        kill_this_process(job, shared)
    return job["number"]


def wait_for_others(job: dict, shared: object) -> None:
    """Job 0 ends when all others have; they end at once."""
    if job["number"]:
        (job["folder"] / str(job["number"])).touch()
    else:
        in_time(lambda: len(list(job["folder"].iterdir())) == job["others"])


def diverge(job: object, shared: object) -> None:
    raise DivergedError("m: NaN.", last_good=torch.nn.Linear(2, 1))


def look_at_shared(job: object, shared: dict) -> tuple[float, bool, int]:
    """(sum of the tensor, whether it lies in memory that processes share, threads)."""
    address = shared["numbers"].data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, permissions = line.split()[:2]
        start, end = (int(part, 16) for part in place.split("-"))
        if start <= address < end:
            return float(shared["numbers"].sum()), permissions.endswith("s"), torch.get_num_threads()
    raise AssertionError("it lies nowhere")


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("ray")
    with workers_of(CORES, {"numbers": torch.ones(500_000)}) as made:
        yield made


@pytest.fixture
def cluster():
    """The address of a Ray that somebody else has started."""
    pytest.importorskip("ray")
    with reaped() as folder, socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
        place.close()
        words = ["start", "--head", f"--port={port}", f"--num-cpus={CORES}", "--include-dashboard=false", "--block"]
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *words, f"--temp-dir={folder}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"},
        )
        in_time(lambda: answers(port))
        yield f"127.0.0.1:{port}"
        head.terminate()
        head.wait()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def family(process: int) -> list[int]:
    """The process and all that it or its children have started."""
    found = [process]
    for one in found:
        for listed in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, listed.read_text().split())
    return found


def alive(processes: list[int]) -> list[int]:
    """Those that are not dead or zombies."""
    found = []
    for one in processes:
        try:
            state = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        found += [one] if state not in "ZX" else []
    return found


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as caught:
        run_jobs(process_id, [0], 1)
    assert str(caught.value) == "--engine ray: ray is not installed; pip install 'prunelle[ray]'."


@pytest.mark.cluster
def test_waves_of_jobs_have_the_same_workers(engine) -> None:
    first = engine.run(process_id, range(50))
    assert set(engine.run(process_id, range(50))) <= set(first)
    assert len(set(first)) <= engine.workers == CORES


@pytest.mark.cluster
def test_what_is_shared_lies_in_the_store_and_workers_have_one_thread(engine) -> None:
    assert engine.run(look_at_shared, [0, 1]) == [(500_000.0, True, 1)] * 2


@pytest.mark.cluster
def test_jobs_of_a_killed_worker_are_done_by_another(engine, tmp_path: Path) -> None:
    jobs = [{"number": number, "folder": tmp_path} for number in range(60)]
    assert engine.run(die_once, jobs) == list(range(60))
    assert [mark.name for mark in tmp_path.iterdir()] == ["3"]


@pytest.mark.cluster
def test_a_job_that_kills_three_workers_is_one_sentence(engine) -> None:
    with pytest.raises(WorkError, match=r"^job 1 of 1: its worker process was killed 3 times"):
        engine.run(kill_this_process, [0])
    assert engine.run(process_id, [0])


@pytest.mark.cluster
def test_nobody_is_idle_while_another_has_jobs_waiting(engine, tmp_path: Path) -> None:
    """Job 0 comes in a batch with others, which would never be done if they had to wait for it."""
    engine.run(wait_for_others, [{"number": number, "folder": tmp_path, "others": 29} for number in range(30)])


@pytest.mark.cluster
def test_an_error_is_the_one_that_the_job_raised(engine) -> None:
    with pytest.raises(DivergedError, match=r"^m: NaN\.$") as caught:
        engine.run(diverge, [0])
    assert caught.value.last_good.weight.shape == (1, 2)
    assert "in diverge" in str(caught.value.__cause__)


@pytest.mark.cluster
def test_more_workers_than_the_cluster_has_are_refused(engine) -> None:
    with pytest.raises(SettingError) as caught, workers_of(CORES + 1):
        pass
    assert str(caught.value) == f"--workers {CORES + 1}: this Ray has {CORES} cores; pass 1 to {CORES}."


@pytest.mark.cluster
def test_another_cluster_than_the_one_in_use_is_refused(engine) -> None:
    with pytest.raises(
        SettingError, match=r"^ray: asked for 127\.0\.0\.1:1, but this process has a Ray at .*:\d+; shut"
    ):
        run_jobs(process_id, [0], 1, address="127.0.0.1:1")


def test_an_address_where_nobody_listens_is_told() -> None:
    with pytest.raises(WorkError, match=r"^ray: no cluster answers at 127\.0\.0\.1:1 \(.*refused\); give the addr"):
        check_answers("127.0.0.1:1")
    assert check_answers("auto") is None


@pytest.mark.cluster
def test_a_cluster_is_used_and_goes_on(cluster: str, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    known = os.environ | {"RAY_ADDRESS": cluster, "RAY_AUTH_MODE": "token"}
    for _ in range(2):
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=known)
        assert (done.stdout, done.stderr) == ("[2, 3]\n", "")
    unknown = os.environ | {"RAY_ADDRESS": cluster, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=unknown)
    assert done.stderr.rstrip().splitlines()[-1] == (
        f"prunelle.errors.WorkError: ray: the cluster at {cluster} did not let this process in; see that it runs, and "
        "where it asks for tokens set RAY_AUTH_MODE=token."
    )


@pytest.mark.cluster
@pytest.mark.parametrize("end", ["of itself", "killed", "all killed", "interrupted", "all interrupted"])
def test_nothing_is_said_and_nobody_is_left(end: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script, touched = tmp_path / "parent.py", tmp_path / "touched"
    script.write_text(textwrap.dedent(PARENT))
    touched.mkdir()
    words = [] if end == "of itself" else ["for ever"]
    process = subprocess.Popen(
        [sys.executable, script, touched, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    in_time(lambda: len(list(touched.iterdir())) == 2)
    everyone = family(process.pid)
    if end != "of itself":
        sent = signal.SIGKILL if end.endswith("killed") else signal.SIGINT
        (os.killpg if end.startswith("all") else os.kill)(process.pid, sent)
    said, _ = process.communicate(timeout=SECONDS)
    in_time(lambda: not alive(everyone), ORPHAN_SECONDS)
    if end.endswith("interrupted"):
        assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt")
    else:
        assert said == ""


def test_servers_that_do_not_start_are_one_sentence() -> None:
    def init(*_: object, **__: object) -> None:
        raise LookupError("no answer\nfrom 192.0.2.1")

    absent = SimpleNamespace(
        is_initialized=lambda: False,
        shutdown=lambda: None,
        init=init,
        exceptions=SimpleNamespace(RayError=LookupError),
    )
    said = r"^ray: its servers did not start here \(no answer\); start the same"
    with pytest.raises(WorkError, match=said), connected(absent, 1, "local"):
        pass
