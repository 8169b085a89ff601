"""A small process that outlives its parent and then ends what the parent has started.

Servers of others start servers of their own, and not all of them see that the first is gone; a worker that is still
importing sees nothing at all. So whoever holds a certain file open is ended, or names it in its command line, as
servers do before they open their logs; on systems with /proc.
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
    holds or names a file in it, such as its log, is killed, and the folder is deleted."""
    folder = tempfile.mkdtemp(prefix="prunelle-")
    with reaping(f"{folder}/"):
        yield folder


@contextmanager
def marked() -> Iterator[int | None]:
    """Handle of a file in memory: whoever holds it open, besides this process, is killed when the block ends or this
    process however it dies. None on systems without such files."""
    if not hasattr(os, "memfd_create"):
        yield None
        return
    name = f"prunelle-{os.getpid()}-{os.urandom(8).hex()}"
    handle = os.memfd_create(name)
    try:
        with reaping(f"/memfd:{name} "):
            yield handle
    finally:
        os.close(handle)


@contextmanager
def reaping(start: str) -> Iterator[None]:
    """Run `main`, until the block ends. start: of the paths of the files."""
    words = [sys.executable, "-I", "-S", __file__, start]
    reaper = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    assert reaper.stdin is not None
    try:
        yield
    finally:
        reaper.stdin.close()
        reaper.wait()


def holders(start: str) -> set[int]:
    """Processes that hold a file open whose path starts so, or name one in their command line."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if start.encode() in (process / "cmdline").read_bytes() or holds(process, start):
                found.add(int(process.name))
    return found


def holds(process: Path, start: str) -> bool:
    """Raises OSError where the process has ended."""
    for handle in os.listdir(process / "fd"):
        with suppress(OSError):  # it was closed meanwhile
            if os.readlink(process / "fd" / handle).startswith(start):
                return True
    return False


def main() -> None:
    """Wait until nobody holds the other end of stdin, then kill and delete."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start, spared = sys.argv[1], {os.getppid(), os.getpid()}
    sys.stdin.buffer.read()
    quiet = 0
    while quiet < 2:  # once could miss what is just being started
        left = holders(start) - spared
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        time.sleep(POLL_SECONDS)
    shutil.rmtree(start, ignore_errors=True)


if __name__ == "__main__":
    main()
