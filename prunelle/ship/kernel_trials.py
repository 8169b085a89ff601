"""Which kernel each layer gets: all that could be faster are built, run on a real image, and the fastest is kept."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prunelle.measure.latency import Timing, time_callable, time_interleaved
from prunelle.ship.c_plan import Choice, Plan
from prunelle.ship.c_source import write_trials
from prunelle.ship.compiler import Target, compile_c

BATCH_US = 20
"""A layer is run so often per sample that a sample takes about this long: the clock and the call cost about 1."""


def choose_kernels(plan: Plan, target: Target, image: Tensor, seconds: float = 0.03) -> dict[int, Choice]:
    """Operation -> variant, for every operation that has several.

    image: (1, channels, height, width); linear layers skip zeros, so it should be a real one. seconds: of timing a
    variant. Raises MissingExtraError, WorkError as `compiler.compile_c`.
    """
    library = ctypes.CDLL(str(compile_c(write_trials(plan, "trial"), target, ())))
    layer = library.trial_layer
    layer.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
    layer.restype = None
    place, held = aligned(plan.workspace_bytes)
    pixels = image.float().contiguous()
    chosen: dict[int, Choice] = {}
    for index in range(len(plan.ops)):
        variants = plan.variants(index)
        layer(index, 0, pixels.data_ptr(), place, 1)  # the layers behind read what it leaves
        if len(variants) > 1:
            times = repeats(partial(layer, index, 0, pixels.data_ptr(), place))
            runs = [partial(layer, index, n, pixels.data_ptr(), place, times) for n in range(len(variants))]
            chosen[index] = variants[fastest(time_interleaved(runs, min_seconds=seconds, min_samples=200))]
        elif variants:
            chosen[index] = variants[0]
    del held
    return chosen


def repeats(run: Callable[[int], None]) -> int:
    """How often a layer runs per sample; the same for all of its variants."""
    once = time_callable(partial(run, 4), min_seconds=0.002, min_samples=30).median_ms / 4
    return max(1, round(BATCH_US / 1e3 / max(once, 1e-5)))


def fastest(timings: Sequence[Timing]) -> int:
    """By the ratio to the first, which is paired round by round."""
    ratios = [timing.ratio or 1.0 for timing in timings]
    return int(np.argmax(ratios))


def aligned(size: int, to: int = 64) -> tuple[int, Tensor]:
    """The address of `size` bytes at a multiple of `to`, and what holds them."""
    held = torch.empty(size + to, dtype=torch.uint8, device="cpu")
    return -(-held.data_ptr() // to) * to, held
