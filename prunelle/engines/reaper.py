"""A small process that outlives its parent and then ends the servers that the parent has started.

Servers of others start servers of their own, and not all of them see that the first is gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_SECONDS = 0.05


@contextmanager
def reaped() -> Iterator[str]:
    """A temporary folder for servers. When the block ends, or this process however it dies, every other process that
    holds a file in it open (its log, on systems with /proc) is killed, and the folder is deleted."""
    folder = tempfile.mkdtemp(prefix="prunelle-")
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, folder], stdin=subprocess.PIPE, start_new_session=True
    )
    assert reaper.stdin is not None
    try:
        yield folder
    finally:
        reaper.stdin.close()
        reaper.wait()


def holders(folder: str) -> set[int]:
    """Processes that hold a file in the folder open."""
    found = set()
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has ended, or is another user's
            if os.readlink(handle).startswith(f"{folder}/"):
                found.add(int(handle.parts[2]))
    return found


def main() -> None:
    """Wait until nobody holds the other end of stdin."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    folder, parent = sys.argv[1], os.getppid()
    sys.stdin.buffer.read()
    while left := holders(folder) - {parent}:
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
