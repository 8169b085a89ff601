"""Images per second at the batch size that gives the most of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from prunelle.errors import SettingError
from prunelle.measure.latency import Timing, time_callable, time_interleaved
from prunelle.measure.rounds import Call

MIN_GAIN = 1.05
MIN_SECONDS = 0.5
MIN_SAMPLES = 200
CALLS_AT_LEAST = 90  # of one function in a comparison: 11 to warm up, 60 in 15 rounds, the rest for uncounted ones


@dataclass(frozen=True)
class Throughput:
    """images_per_second = batch / median seconds of a call. stopped_by: gain, time, memory or max_batch."""

    images_per_second: float
    batch: int
    num_samples: int
    threads: int
    stopped_by: str


def best_throughput(
    at: Callable[[int], Call],
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    max_batch: int = 1024,
    max_seconds: float = 60.0,
) -> Throughput:
    """Double the batch from 1 until it pays less than 5 %, and give the best batch met.

    at: batch size -> function of no arguments that runs one batch, already in the device's memory.
    max_batch, max_seconds: no larger batch is tried; no batch is tried whose measurement would not end in that time,
    judged by the one before. Each batch is interleaved with the one before, so a noisy moment does not end the search.
    Running out of memory ends the search too; of all else that `at` or its function raises, nothing is caught.
    Returns the Throughput. Raises SettingError on a setting that is not above 0.
    """
    if max_batch < 1 or not max_seconds > 0:
        raise SettingError(f"throughput: max_batch {max_batch} and max_seconds {max_seconds} must be above 0.")
    batch, run = 1, at(1)
    best = time_callable(run, device=device, threads=threads, min_seconds=MIN_SECONDS, min_samples=MIN_SAMPLES)
    stopped_by = "max_batch"
    while 2 * batch <= max_batch:
        seconds = 3 * best.median_ms / 1e3 * CALLS_AT_LEAST
        if seconds > max_seconds:
            stopped_by = "time"
            break
        max_seconds -= seconds
        try:
            larger = at(2 * batch)
            _, timing = time_interleaved(
                [run, larger], device=device, threads=threads, min_seconds=MIN_SECONDS, min_samples=MIN_SAMPLES
            )
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            stopped_by = "memory"
            break
        if 2 * (timing.ratio or 0) < MIN_GAIN:
            stopped_by = "gain"
            break
        batch, run, best = 2 * batch, larger, timing
    return _throughput(batch, best, stopped_by)


def _throughput(batch: int, timing: Timing, stopped_by: str) -> Throughput:
    return Throughput(1e3 * batch / timing.median_ms, batch, timing.num_samples, timing.threads, stopped_by)


def _out_of_memory(error: Exception) -> bool:
    """PyTorch has a class for a full GPU and only a sentence for a full CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
