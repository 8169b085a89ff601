"""A network planned for a machine: what runs in which order, and where every number lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from prunelle.errors import SettingError
from prunelle.graph.trace import trace
from prunelle.ship.c import linear
from prunelle.ship.c.conv import Shape, shapes
from prunelle.ship.c.fixed_point import Scales, fit_scales, in_fixed_point
from prunelle.ship.c.fuse import fuse, read_channels
from prunelle.ship.c.lower import lower
from prunelle.ship.c.memory import place_buffers_
from prunelle.ship.c.ops import (
    Linear,
    LoadVector,
    Program,
)
from prunelle.ship.c.pairs import fuse_pools
from prunelle.ship.c.taps import Expand, Placed, TapConv, place_taps
from prunelle.ship.c.writer import FP32, INT16, Numbers
from prunelle.ship.finite import refuse_not_finite
from prunelle.ship.frozen import frozen

Choice = Shape | str
Choices = Mapping[int, Choice]


@dataclass(frozen=True)
class Plan:
    """A network ready to be written. ops in the order they run; read: channels that somebody reads; workspace_bytes:
    what a caller must bring, aligned to 64 bytes."""

    program: Program
    ops: list[Placed]
    read: set[int]
    vector_bytes: int
    registers: int
    workspace_bytes: int
    numbers: Numbers = FP32
    scales: Scales | None = None

    def variants(self, index: int) -> tuple[Choice, ...]:
        """The forms in which operation `index` can be written; () where there is one."""
        op = self.ops[index]
        if isinstance(op, TapConv):
            return tuple(shapes(op, self.registers))
        return linear.forms(op, self.numbers) if isinstance(op, Linear) else ()


def plan_c(
    model: nn.Module,
    example: torch.Tensor,
    vector_bytes: int,
    registers: int,
    precision: str = "fp32",
    calibration: torch.Tensor | None = None,
) -> Plan:
    """Trace, fuse and place a network for vectors of `vector_bytes` on a machine with so many to sum in.

    example: (batch, channels, height, width); one image is traced. precision: fp32 or int16, which needs calibration
    images (n, channels, height, width). Raises ModelError for operators without a rule, SettingError for a precision
    that there is not, or int16 without images, WeightsError for weights that are not finite.
    """
    numbers = {"fp32": FP32, "int16": INT16}.get(precision)
    if numbers is None:
        raise SettingError(f"native: there is no precision {precision!r}, the words are fp32 and int16.")
    if numbers is INT16 and calibration is None:
        raise SettingError("native: int16 is fitted to images; pass calibration images, or take fp32.")
    net = frozen(model).float()
    graph = trace(net, example[:1].float())
    refuse_not_finite("native", net, graph)
    program = lower(net, graph, vector_bytes // numbers.bytes)
    return plan_program(program, vector_bytes, registers, numbers, calibration, background_of(example[:1]))


def plan_program(
    program: Program,
    vector_bytes: int,
    registers: int,
    numbers: Numbers = FP32,
    calibration: torch.Tensor | None = None,
    background: float | None = None,
) -> Plan:
    """The same from operations. calibration: images (n, channels, height, width), only for int16. background: the value
    of most pixels, which layers that read the image itself skip."""
    program = fuse(program)
    image = next((op.out for op in program.ops if isinstance(op, LoadVector)), None)
    for reader in program.ops:
        if isinstance(reader, Linear) and reader.x is image and background is not None:
            reader.base = background
    scales = fit_scales(program, calibration) if calibration is not None and numbers is INT16 else None
    read = read_channels(program.ops)
    ops = place_taps(program, read, registers, windows=numbers is FP32)
    for op in ops:
        if isinstance(op, Expand):
            read |= set(range(op.out.first, op.out.first + op.out.count))
    if scales is not None:
        ops = in_fixed_point(ops, scales)
    ops = fuse_pools(program, ops, read, registers)
    size = place_buffers_(program, ops, vector_bytes)
    return Plan(program, ops, read, vector_bytes, registers, size * vector_bytes, numbers, scales)


def background_of(image: torch.Tensor) -> float | None:
    """The value that most pixels have, where at least a quarter has it: a normalised image's background is not zero."""
    values, counts = np.unique(image.float().numpy(), return_counts=True)
    return float(values[counts.argmax()]) if counts.max() * 4 >= counts.sum() else None
