"""Processes that this one has started, however deep, and those that outlive who started them."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def adopt() -> None:
    """From now on orphans below this process become its children, whatever session they are in: none gets lost."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the process that forked this one ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prctl(what: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def below(process: int) -> list[int]:
    """Living processes that descend from this one, without it."""
    parents = living()
    found, wanted = [], {process}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found += sorted(wanted)
    return found


def living() -> dict[int, int]:
    """The parent of every process that is no zombie."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just gone
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if state not in "ZX":
                found[int(entry.name)] = int(parent)
    return found


def title(process: int) -> str:
    """Its command line, empty when it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def workers(driver: int) -> list[int]:
    """Those that do jobs for a driver, on the local engine."""
    others = ("resource_tracker", "reaper.py")
    parents = living()
    return [p for p in below(driver) if parents.get(p) == driver and not any(one in title(p) for one in others)]


def actors(driver: int) -> list[int]:
    """Those that do jobs for a driver, on Ray."""
    return [process for process in below(driver) if title(process).startswith("ray::Member")]


def wait_until_gone(seconds: float) -> tuple[float, list[str]]:
    """(seconds until no process below this one was alive, titles of those that were after so many seconds). The
    latter are killed. The process that is waited for has been waited for already."""
    start = time.monotonic()
    while (left := below(os.getpid())) and time.monotonic() - start < seconds:
        reap()
        time.sleep(0.02)
    titles = [f"{process} {title(process)[:80]}" for process in left]
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    took = time.monotonic() - start
    reap()
    return took, titles


def reap() -> None:
    """Take in the exit codes of adopted processes."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
