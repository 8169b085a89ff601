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
    holds a file in it open, or names one in its command line, is killed (on systems with /proc), and the folder is
    deleted. Servers name their logs before they open them."""
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
    """Processes that hold a file in the folder open or name one in their command line."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if f"{folder}/".encode() in (process / "cmdline").read_bytes() or holds(process, folder):
                found.add(int(process.name))
    return found


def holds(process: Path, folder: str) -> bool:
    """Raises OSError where the process has ended."""
    for handle in os.listdir(process / "fd"):
        with suppress(OSError):  # it was closed meanwhile
            if os.readlink(process / "fd" / handle).startswith(f"{folder}/"):
                return True
    return False


def main() -> None:
    """Wait until nobody holds the other end of stdin."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    folder, parent = sys.argv[1], os.getppid()
    sys.stdin.buffer.read()
    quiet = 0
    while quiet < 2:  # once could miss what is just being started
        left = holders(folder) - {parent}
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        time.sleep(POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
