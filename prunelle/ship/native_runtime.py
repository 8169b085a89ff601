"""The runtimes `native` and `native16`: a model as C, compiled for this machine into a folder that is gone at once."""

from __future__ import annotations

import tempfile

from torch import Tensor, nn

from prunelle.ship.frozen import frozen, refuse_gpu
from prunelle.ship.native import Native, build_native, load_native
from prunelle.ship.parity import check_parity

TOLERANCE_16 = 0.05
"""Of the largest output: far above what 16 bits cost, far below a wrong kernel's. The gate of `ship` is the judge."""


def native(model: nn.Module, example: Tensor, threads: int) -> Native:
    """The model as the library that is shipped, in fp32. threads: it has one, whatever is asked.

    Raises as `native.build_native`, MeasurementError when the outputs are not those of the model.
    """
    refuse_gpu("native", example)
    run = built(model, example, "fp32")
    check_parity("native", run, frozen(model), example)
    return run


def native16(model: nn.Module, example: Tensor, threads: int) -> Native:
    """The same in 16-bit fixed point. example: (n, channels, height, width), to which it is fitted: real images, some
    hundred, where its answers count. Raises as `native`."""
    refuse_gpu("native16", example)
    run = built(model, example, "int16")
    check_parity("native16", run, frozen(model), example, num_more=None, tolerance=TOLERANCE_16)
    return run


def built(model: nn.Module, example: Tensor, precision: str, trials: bool = True) -> Native:
    with tempfile.TemporaryDirectory() as folder:
        fitted = example if precision != "fp32" else None
        build_native(model, example, folder, precision=precision, calibration=fitted, trials=trials)
        return load_native(folder)
