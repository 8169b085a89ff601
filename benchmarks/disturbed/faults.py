"""What goes wrong at the n-th call that changes a folder: a kill in the middle of it, or an error of the disk."""

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DISK_FAULTS = ("full", "full_after_half", "broken_once", "short_writes")


@dataclass(frozen=True)
class Fault:
    """at: number of the call, from 1, counted over all processes of the job. where: what the path of a call must
    hold to be counted. kind:

    kill: the whole process group dies there, with half of the bytes written, or before or after the call.
    kill_one: only the process that makes the call, which is one of several workers or the one they work for.
    full: ENOSPC from there on. full_after_half: half of the bytes are written first. broken_once: EIO, once.
    short_writes: from there on every write takes half of what it is given, which is no error.
    """

    kind: str
    at: int
    where: str = ""


class Counter:
    """Calls so far, shared by the processes of a job that are forked after it is made.

    The lock is the kernel's record lock, which a killed process gives back; a semaphore it would keep for ever.
    """

    def __init__(self) -> None:
        self.handle = os.memfd_create("calls")

    def next(self) -> int:
        fcntl.lockf(self.handle, fcntl.LOCK_EX)
        number = self.so_far + 1
        os.pwrite(self.handle, number.to_bytes(8, "little"), 0)
        fcntl.lockf(self.handle, fcntl.LOCK_UN)
        return number

    @property
    def so_far(self) -> int:
        return int.from_bytes(os.pread(self.handle, 8, 0), "little")

    def close(self) -> None:
        os.close(self.handle)


def install(folder: Path, fault: Fault | None, counter: Counter) -> None:
    """Replace os.write, os.fsync, os.replace and os.unlink of this process and of those it forks."""
    inside = f"{folder.resolve()}/"
    real_write = os.write

    def watched(call: Callable, path_of: Callable[[Any], str], full: bool) -> Callable:
        def wrapper(first: Any, *rest: Any, **named: Any) -> Any:
            path = path_of(first)
            if not f"{path}/".startswith(inside) or (fault is not None and fault.where not in path):
                return call(first, *rest, **named)
            number = counter.next()
            if fault is None or number < fault.at:
                return call(first, *rest, **named)
            if fault.kind == "kill_one" and number > fault.at:
                return call(first, *rest, **named)
            if fault.kind in ("kill", "kill_one"):
                if call is real_write:
                    call(first, rest[0][: len(rest[0]) // 2])
                elif number % 2:
                    call(first, *rest, **named)
                os.killpg(0, signal.SIGKILL) if fault.kind == "kill" else os.kill(os.getpid(), signal.SIGKILL)
            return strike(fault, number, call, (first, *rest), named, full)

        return wrapper

    def strike(fault: Fault, number: int, call: Callable, given: tuple, named: dict, full: bool) -> Any:
        if fault.kind == "broken_once" and number == fault.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        takes_half = fault.kind == "short_writes" or (fault.kind == "full_after_half" and number == fault.at)
        if call is real_write and takes_half:
            return call(given[0], given[1][: max(1, len(given[1]) // 2)])
        if fault.kind in ("full", "full_after_half") and full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*given, **named)

    def path_of_handle(handle: int) -> str:
        return os.readlink(f"/proc/self/fd/{handle}")

    def path_of_name(path: Any) -> str:
        return str(Path(path).absolute())

    os.write = watched(real_write, path_of_handle, full=True)
    os.fsync = watched(os.fsync, path_of_handle, full=True)
    os.replace = watched(os.replace, path_of_name, full=True)
    os.unlink = watched(os.unlink, path_of_name, full=False)
