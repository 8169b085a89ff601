"""How samples are taken in turns, so that noise hits every function alike.

A measurement is a number of rounds. In a round every function has two turns, in a random order and then in the
reverse of it (A B B A), so a machine that grows slower does not favour the one that came first. A turn is one call,
or several when calls are short; the call before them is not counted, because it finds the other function's data in
the cache, where the one that is shipped will find its own.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy
import torch
from numpy.typing import NDArray

Call = Callable[[], object]
Clock = Callable[[], int]
Turn = Callable[[], list[int]]
Sync = Callable[[], None] | None

TURN_NS = 2_000_000  # shorter than a scheduler's time slice, so a burst seldom hits the turns of one side only
MAX_TURN_CALLS = 4
REFILL_NS = 10_000_000  # a call longer than this hardly notices a cold cache
WARM_UP_NS = 2_000_000_000
STABLE = 0.05  # warm when two looks at the median differ by less


def synchroniser(device: torch.device) -> Sync:
    """What waits for the device to be idle; None where calls return when the work is done."""
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else None


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """Hold PyTorch's thread count, and keep the garbage collector out of the samples; put both back."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    gc.collect()
    gc.disable()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


def warm_up(fns: Sequence[Call], sync: Sync, clock: Clock) -> NDArray:
    """Call every function until its median settles or two seconds have gone; returns the medians, ns, at least 1."""
    for fn in fns:
        fn()  # compilation and lazy loading happen here, outside the two seconds
    start = clock()
    before = numpy.full(len(fns), numpy.inf)
    while True:
        now = numpy.array([max(1.0, numpy.median(take_turn(fn, 5, False, sync, clock))) for fn in fns])
        if numpy.all(abs(now - before) <= STABLE * now) or clock() - start > WARM_UP_NS:
            return now
        before = now


def take_turn(fn: Call, num_calls: int, refill: bool, sync: Sync, clock: Clock) -> list[int]:
    """Nanoseconds of each of `num_calls` calls in a row, after one that is not counted when `refill`."""
    if refill:
        fn()
    if sync is not None:
        sync()
    times = []
    for _ in range(num_calls):
        start = clock()
        fn()
        if sync is not None:
            sync()
        times.append(clock() - start)
    return times


def plan_turns(fns: Sequence[Call], call_ns: NDArray, sync: Sync, clock: Clock) -> list[Turn]:
    """One turn per function, all of the same number of calls, which the slowest of `call_ns` decides."""
    num_calls = int(numpy.clip(TURN_NS // call_ns.max(), 1, MAX_TURN_CALLS))
    return [
        partial(take_turn, fn, num_calls, len(fns) > 1 and bool(ns < REFILL_NS), sync, clock)
        for fn, ns in zip(fns, call_ns, strict=True)
    ]


def take_round(turns: Sequence[Turn], draws: torch.Generator) -> list[list[int]]:
    """The times of each function, ns, over one random order of turns and its reverse."""
    order = torch.randperm(len(turns), generator=draws).tolist()
    times: list[list[int]] = [[] for _ in turns]
    for index in [*order, *reversed(order)]:
        times[index] += turns[index]()
    return times
