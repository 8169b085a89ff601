"""Where the time of a native library goes, operation by operation."""

from __future__ import annotations

import ctypes
from pathlib import Path

from torch import Tensor

from prunelle.errors import ShapeError
from prunelle.measure.latency import time_callable
from prunelle.ship.kernel_trials import aligned
from prunelle.ship.native import load_native


def profile_native(folder: str | Path, image: Tensor, calls: int = 200) -> list[tuple[str, str, float, int, int]]:
    """Where the time goes: (layer, kernel, microseconds, dense multiply-adds, multiply-adds) for every operation.

    image: (1, channels, height, width). Each operation is timed alone, its inputs as the image leaves them.
    """
    net = load_native(folder)
    if tuple(image.shape) != (1, *net.input_shape) or not image.is_cpu:
        raise ShapeError(f"native: one image {(1, *net.input_shape)} on the cpu is profiled, not {tuple(image.shape)}.")
    layer = getattr(net._library, f"{net.record['name']}_layer")
    layer.argtypes = [ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
    layer.restype = None
    place, held = aligned(net.record["workspace_bytes"])
    pixels, rows = image.float().contiguous(), []
    for index, about in enumerate(net.record["layers"]):
        layer(index, pixels.data_ptr(), place, 1)
        times = 16

        def call(index: int = index, times: int = times) -> None:
            layer(index, pixels.data_ptr(), place, times)

        timing = time_callable(call, min_seconds=0.05, min_samples=max(30, calls))
        kernel = " ".join(filter(None, (about["kind"], about["kernel"])))
        us = 1e3 * timing.median_ms / times
        rows.append((about["layer"] or about["kind"], kernel, us, about["dense_macs"], about["macs"]))
    del held
    return rows
