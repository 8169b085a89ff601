import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunelle.engines.reaper import holders, marked, reaped

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")

SECONDS = 60
SERVER = "import sys, time; log = open(sys.argv[1], 'w'); print('begun', flush=True); time.sleep(600)"
PARENT = """
import subprocess, sys, time
from prunelle.engines.reaper import reaped
with reaped() as folder:
    subprocess.Popen([sys.executable, "-c", sys.argv[1], folder + "/log"], start_new_session=True)
    print(folder, flush=True)
    time.sleep(600)
"""


def server(folder: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, f"{folder}/log"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    return process


def test_a_server_ends_with_the_block_and_this_process_goes_on(tmp_path: Path) -> None:
    with reaped() as folder, open(f"{folder}/mine", "w"):
        process = server(folder)
        assert {process.pid, os.getpid()} <= holders(f"{folder}/")
        mine = holders(f"{tmp_path}/")
    assert process.wait(SECONDS) == -signal.SIGKILL
    assert not Path(folder).exists()
    assert mine == set()


def test_a_process_that_holds_nothing_there_goes_on(tmp_path: Path) -> None:
    with reaped() as folder:
        process = server(str(tmp_path))
        Path(folder, "file").touch()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_server_that_has_not_opened_its_log_yet_ends_with_the_block() -> None:
    waits = "import time; print('begun', flush=True); time.sleep(600)"
    with reaped() as folder:
        process = subprocess.Popen([sys.executable, "-c", waits, f"--log={folder}/log"], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        assert process.pid in holders(f"{folder}/")
    assert process.wait(SECONDS) == -signal.SIGKILL
    process.stdout.close()


def test_who_holds_the_mark_ends_with_the_block_and_who_does_not_goes_on() -> None:
    with marked() as mark:
        assert mark is not None
        both = [subprocess.Popen(["sleep", "600"], pass_fds=given) for given in ((mark,), ())]
    assert both[0].wait(SECONDS) == -signal.SIGKILL
    assert both[1].poll() is None
    both[1].kill()
    both[1].wait()


@pytest.mark.parametrize("group", [False, True])
def test_a_server_ends_when_the_parent_is_killed(group: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, SERVER], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert parent.stdout is not None
    lines = {parent.stdout.readline().strip() for _ in range(2)}
    (folder,) = lines - {"begun"}
    assert holders(folder)
    (os.killpg if group else os.kill)(parent.pid, signal.SIGKILL)
    assert parent.communicate(timeout=SECONDS)[0] == ""  # whoever wrote there is gone
    end = time.monotonic() + SECONDS
    while Path(folder).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
