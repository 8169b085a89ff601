"""What a program computes, in PyTorch: how large values become before they are stored, seen on calibration images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from prunelle.errors import ModelError
from prunelle.ship.c.ops import ZERO, Activate, AddMaps, Conv, Load, MapEach, Maps, Pool, Program, Step


def largest(program: Program, images: Tensor) -> dict[Maps, Tensor]:
    """For each buffer of maps the largest value that one of its channels' steps holds, (channels,) float64.

    images: (n, channels, height, width). Of what an activation cuts off below, only what is above counts.
    Raises ModelError for what fixed point cannot do.
    """
    values: dict[int, Tensor] = {ZERO: torch.zeros(())}
    found: dict[Maps, Tensor] = {}
    with torch.inference_mode():
        for op in program.ops:
            if isinstance(op, Load):
                keep_(values, found, op.out, images.float(), [])
            elif isinstance(op, Conv):
                keep_(values, found, op.out, convolve(op, gather(values, op.x, blank(op.out, images))), op.steps)
            elif isinstance(op, MapEach):
                keep_(values, found, op.out, gather(values, op.x, blank(op.out, images)), op.steps)
            elif isinstance(op, Pool):
                keep_(values, found, op.out, pooled(op, gather(values, op.x, blank(op.out, images))), op.steps)
    return found


def gather(values: dict[int, Tensor], channels: list[int], zeros: Tensor) -> Tensor:
    """The channels side by side. zeros: (n, height, width), of any size where no channel has one."""
    first = next((values[n] for n in channels if n != ZERO), zeros)
    return torch.stack([values[n] if n != ZERO else torch.zeros_like(first) for n in channels], 1)


def blank(out: Maps, images: Tensor) -> Tensor:
    """Zeros of the size of a result, to stand for inputs that are all zero."""
    return torch.zeros(len(images), out.layout.height, out.layout.width)


def convolve(op: Conv, x: Tensor) -> Tensor:
    """Padded below and right by as much as the output's size asks."""
    out, (rows, columns) = op.out.layout, op.weight.shape[2:]
    below = (out.height - 1) * op.stride[0] + (rows - 1) * op.dilation[0] + 1 - x.shape[2] - op.pad[0]
    right = (out.width - 1) * op.stride[1] + (columns - 1) * op.dilation[1] + 1 - x.shape[3] - op.pad[1]
    x = F.pad(x, (op.pad[1], right, op.pad[0], below))
    weight, bias = torch.from_numpy(op.weight).float(), torch.from_numpy(op.bias).float()
    return F.conv2d(x, weight, bias, op.stride, 0, op.dilation, op.groups)


def pooled(op: Pool, x: Tensor) -> Tensor:
    """Padded below and right, or cut there, by as much as the output's size asks."""
    if not any(op.x):
        return x
    out, counts = op.out.layout, op.counts(x.shape[2], x.shape[3])
    below, right = (
        (length - 1) * op.stride[axis] + op.kernel[axis] - x.shape[2 + axis] - op.pad[axis]
        for axis, length in enumerate((out.height, out.width))
    )
    sides = (op.pad[1], right, op.pad[0], below)
    if op.kind == "max":
        return F.max_pool2d(F.pad(x, sides, value=float("-inf")), op.kernel, op.stride)
    if (counts != op.kernel[0] * op.kernel[1]).any():
        raise ModelError(f"native: {op.name} takes means of fewer pixels at edges, which int16 cannot; take fp32.")
    return F.avg_pool2d(F.pad(x, sides), op.kernel, op.stride)


def keep_(values: dict[int, Tensor], found: dict[Maps, Tensor], out: Maps, x: Tensor, steps: list[Step]) -> None:
    """Run the steps, note how large values become on the way, and keep the result's channels."""
    most = torch.zeros(x.shape[1], dtype=torch.float64)
    for number in range(len(steps) + 1):
        after = steps[number] if number < len(steps) else None
        cut = isinstance(after, Activate) and (after.kind == "relu" or (after.kind == "clamp" and after.low >= 0))
        most = torch.maximum(most, (x if cut else x.abs()).amax((0, 2, 3)).double())
        if isinstance(after, Activate):
            x = F.relu(x) if after.kind == "relu" else x.clamp(after.low, after.high)
            if after.kind not in ("relu", "clamp"):
                raise ModelError(f"native: int16 has no {after.kind}; take fp32.")
        elif isinstance(after, AddMaps):
            x = x + gather(values, after.other, x[:, 0]) if any(after.other) else x
        elif after is not None:
            raise ModelError(f"native: int16 has no {type(after).__name__.lower()} step; take fp32.")
    found[out] = most
    for index in range(out.count):
        values[out.first + index] = x[:, index]
