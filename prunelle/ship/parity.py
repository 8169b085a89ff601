"""Does a runtime compute what the model computes? Checked before anything about it is measured."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelle.errors import MeasurementError
from prunelle.seeds import generator

TOLERANCE = 1e-4


def check_parity(
    runtime: str,
    run: Callable[[Tensor], Tensor],
    reference: nn.Module,
    example: Tensor,
    num_more: int | None = 0,
    tolerance: float = TOLERANCE,
) -> None:
    """Compare outputs with the reference on the example and on as many images of noise, and `num_more`.

    example: (batch, ...); the reference is in evaluation mode, and gives one tensor (batch, ...).
    num_more: above 0 tries another batch size too, at the price of another compilation in some runtimes; None leaves
    the noise out. tolerance: of the largest absolute reference output; above it MeasurementError is raised.
    """
    batches = [example]
    if example.is_floating_point() and num_more is not None:
        shape = (len(example) + num_more, *example.shape[1:])
        batches.append(torch.randn(shape, generator=generator(0, "parity")).to(example))
    for images in batches:
        with torch.inference_mode():
            expected = reference(images)
        found = run(images)
        if found.shape != expected.shape:
            raise MeasurementError(
                f"runtime {runtime}: the output has shape {tuple(found.shape)} where PyTorch's has "
                f"{tuple(expected.shape)}; it is not measured, use another runtime."
            )
        error, scale = float((found - expected).abs().max()), float(expected.abs().max())
        if not error <= tolerance * scale:  # a NaN fails too
            raise MeasurementError(
                f"runtime {runtime}: an output is off by {error:.3g} where the largest is {scale:.3g}, "
                f"at most {tolerance:g} of that is allowed; it is not measured, use another runtime."
            )
