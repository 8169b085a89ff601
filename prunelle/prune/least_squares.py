"""One layer as a least-squares problem: its inputs and wanted outputs as rows, their second moments, the solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
FORWARDS = (nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Tried in turn, as shares of the mean square of a centred input."""


def is_plain(module: nn.Module) -> bool:
    """Whether the module's output is its own `weight` times its input, plus its `bias`, and nothing else."""
    forward = getattr(type(module), "forward", None)
    own = module._parameters.get("weight")
    return own is not None and "forward" not in vars(module) and forward in FORWARDS


def groups(layer: Layer) -> int:
    """How many blocks of outputs read blocks of inputs of their own."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def draw_places(layer: Layer, outputs: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """(P,) int64, ascending: which pixels (tokens, for a linear layer) of each example stand for all; P <= most."""
    count = outputs[0].numel() // (outputs.shape[-1] if isinstance(layer, nn.Linear) else outputs.shape[1])
    return torch.randperm(count, generator=generator)[:most].sort().values.to(outputs.device)


def input_rows(layer: Layer, inputs: Tensor, where: Tensor) -> Tensor:
    """What the layer multiplies its weight with at these places.

    inputs: (N, ..., in) for a linear layer, else (N, in, *sides). Returns (N * P, groups, numbers a weight row holds).
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(len(inputs), -1, inputs.shape[-1])[:, where].flatten(0, 1)[:, None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    windows = pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    sides = len(layer.kernel_size)
    for side, (size, stride, gap) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        windows = windows.unfold(2 + side, (size - 1) * gap + 1, stride)[..., ::gap]
    places: Any = (slice(None), slice(None), *torch.unravel_index(where, windows.shape[2 : 2 + sides]))
    rows = windows[places].movedim(2, 1)  # views until here: only what is drawn is copied
    return rows.reshape(rows.shape[0] * rows.shape[1], layer.groups, -1)


def output_rows(layer: Layer, outputs: Tensor, where: Tensor, kept: Tensor) -> Tensor:
    """What the layer shall give at these places.

    outputs: the dense layer's, (N, ..., out) or (N, out, *sides). kept: (k,) which of its outputs `layer` has.
    Returns (N * P, groups, k / groups).
    """
    last = outputs if isinstance(layer, nn.Linear) else outputs.movedim(1, -1)
    rows = last.reshape(len(outputs), -1, last.shape[-1])[:, where].flatten(0, 1)[:, kept]
    return rows.unflatten(1, (groups(layer), -1))


class Moments:
    """Second moments of inputs (with a 1 as the last of them) and outputs, summed in float64 as rows come. Final.

    inputs: (groups, k + 1, k + 1). both: (groups, k + 1, outputs). outputs: (groups, outputs).
    """

    def __init__(self) -> None:
        self.inputs: Any = 0
        self.both: Any = 0
        self.outputs: Any = 0

    def add_(self, inputs: Tensor, outputs: Tensor) -> None:
        """inputs: (rows, groups, k). outputs: (rows, groups, outputs)."""
        x = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1).transpose(0, 1)
        y = outputs.transpose(0, 1)
        self.inputs = self.inputs + (x.mT @ x).double()
        self.both = self.both + (x.mT @ y).double()
        self.outputs = self.outputs + y.double().square().sum(1)

    def error(self, weight: Tensor) -> float:
        """Sum of squared differences for a weight of (groups, k + 1, outputs)."""
        square = (weight * (self.inputs @ weight - 2 * self.both)).sum(1) + self.outputs
        return float(square.sum())


@dataclass(frozen=True)
class Solution:
    """weight: (outputs, k), constant: (outputs,), both float64. error, error_before: on the judging rows."""

    weight: Tensor
    constant: Tensor
    error: float
    error_before: float


def solve(start: Tensor, constant: Tensor | None, made: Moments, judge: Moments) -> Solution | None:
    """The weight that gives the wanted outputs best, near `start` by a ridge; None where none is better than `start`.

    start: (groups, outputs, k). constant: (groups, outputs) that is added to the outputs and solved with them; None
    for a layer that can add nothing. made: the rows to solve for; judge: others, which choose among RIDGES.
    """
    known = torch.zeros_like(made.both)
    known[:, :-1] = start.double().mT
    if constant is not None:
        known[:, -1] = constant.double()
    size = made.inputs.shape[-1] if constant is not None else made.inputs.shape[-1] - 1
    square = made.inputs[:, :size, :size]
    missing = (made.both - made.inputs @ known)[:, :size]
    count, sums = made.inputs[:, -1, -1, None], made.inputs[:, -1, :-1]
    spread = made.inputs.diagonal(dim1=1, dim2=2)[:, :-1] - (sums**2 / count if constant is not None else 0)
    damping = spread.mean(1, keepdim=True).expand(-1, size).clone()
    if constant is not None:
        damping[:, -1] = 0
    before = judge.error(known)
    best, least = None, before
    for ridge in RIDGES:
        step, fault = torch.linalg.solve_ex(square + torch.diag_embed(ridge * damping), missing)
        tried = known.clone()
        tried[:, :size] += step
        error = judge.error(tried)
        if not fault.any() and error < least:  # false for NaN
            best, least = tried, error
    if best is None:
        return None
    return Solution(best[:, :-1].mT.flatten(0, 1), best[:, -1].flatten(), least, before)
