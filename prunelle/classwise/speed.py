"""How long one image takes, end to end: the whole network, its members side by side and one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.classwise.running import SideBySide
from prunelle.errors import WorkError
from prunelle.measure.latency import Timing, time_interleaved
from prunelle.models.members import Members
from prunelle.ship.images import over
from prunelle.ship.runtimes import load_runtime

BY_PROCESS = {"eager", "compile"}
"""Runtimes whose threads are PyTorch's own, of which a process has one count."""
SINGLE = {"native", "native16"}
"""Runtimes that have one thread, whatever is asked."""


@dataclass(frozen=True)
class Contest:
    """whole: the network that was split. members: its members. one: a network for all classes of a member's size, or
    None. images: (n, C, H, W), what 16 bits are fitted to. timed: (1, C, H, W) each, in turns. cores: threads of the
    whole networks, and processes of the members."""

    whole: nn.Module = field(repr=False)
    members: Members = field(repr=False)
    one: nn.Module | None = field(repr=False)
    images: Tensor = field(repr=False)
    timed: tuple[Tensor, ...] = field(repr=False)
    cores: int = 1


def race(contest: Contest, runtime: str, seconds: float = 5.0, samples: int = 1000) -> list[dict[str, Any]]:
    """One image in one runtime, all ways in turns.

    Returns {runtime, what, ms, p95_ms, ratio, ratio_low, ratio_high} rows, ratios to the first, the whole network; its
    own are None. What waits between turns stands still. Raises WorkError where a network cannot run there.
    """
    with ExitStack() as stack:
        ways = calls(contest, runtime, stack)
        found = time_interleaved(list(ways.values()), threads=1, min_seconds=seconds, min_samples=samples)
    return [
        line(runtime, what, timing, not number) for number, (what, timing) in enumerate(zip(ways, found, strict=True))
    ]


def alone(contest: Contest, runtime: str, seconds: float = 5.0, samples: int = 1000) -> list[float]:
    """Milliseconds (median) of each member by itself, with one thread, in turns. Raises WorkError."""
    load = load_runtime(runtime)
    runs = [over(load(member, contest.images, 1), contest.timed) for member in contest.members.members]
    timings = time_interleaved(runs, threads=1, min_seconds=seconds, min_samples=samples)
    return [timing.median_ms for timing in timings]


def calls(contest: Contest, runtime: str, stack: ExitStack) -> Mapping[str, Callable[[], object]]:
    """What is timed, by name. Raises WorkError."""
    threads = 1 if runtime in SINGLE else contest.cores
    load = load_runtime(runtime)
    whole = threaded(load(contest.whole, contest.images, threads), runtime, threads)
    ways: dict[str, Callable[[Tensor], Tensor]] = {f"whole, {told(threads)}": whole}
    if threads > 1:
        ways["whole, 1 thread"] = load(contest.whole, contest.images, 1)
    for what, workers in (("members side by side", contest.cores), ("members one after another", 1)):
        ways[what] = stack.enter_context(SideBySide(contest.members, runtime, contest.images, workers))
    if contest.one is not None:
        one = load(contest.one, contest.images, threads)
        ways[f"cut as one network, {told(threads)}"] = threaded(one, runtime, threads)
    for what, run in ways.items():
        try:
            run(contest.timed[0])
        except RuntimeError as error:
            raise WorkError(f"{runtime}: {what} does not run ({str(error).splitlines()[0]}).") from None
    return {what: over(run, contest.timed) for what, run in ways.items()}


def threaded(run: Callable[[Tensor], Tensor], runtime: str, threads: int) -> Callable[[Tensor], Tensor]:
    """`run` with so many of PyTorch's threads where it has no others; the timer holds one, as members have."""
    if runtime not in BY_PROCESS or threads == 1:
        return run

    def call(images: Tensor) -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return run(images)
        finally:
            torch.set_num_threads(before)

    return call


def told(threads: int) -> str:
    """
    >>> told(1), told(2)
    ('1 thread', '2 threads')
    """
    return "1 thread" if threads == 1 else f"{threads} threads"


def line(runtime: str, what: str, timing: Timing, first: bool) -> dict[str, Any]:
    ratios = (timing.ratio, timing.ratio_low, timing.ratio_high)
    ratio, low, high = (None, None, None) if first else ratios
    return {
        "runtime": runtime,
        "what": what,
        "ms": timing.median_ms,
        "p95_ms": timing.p95_ms,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
    }
