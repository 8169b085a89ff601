"""Many small networks in one C file, so that the compiler starts once: tables and functions are shared by their names,
which also shows that equal names mean equal text."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.graph.trace import trace
from prunelle.ship.c.lower import lower
from prunelle.ship.c.ops import Program
from prunelle.ship.c.writer import FP32, INT16, Writer
from prunelle.ship.c_plan import Plan, plan_program
from prunelle.ship.c_source import assemble, layer
from prunelle.ship.compiler import Target, compile_c

FAST = ("-march=native", "-O1", "-fno-tree-vectorize", "-Werror")
GUARD = 64
"""Vectors before and behind the workspace that must not be written."""


@dataclass(frozen=True)
class Case:
    """program: numbers in a vector -> the operations. reference: what they compute, on images of any float type.
    image: (1, channels, height, width). calibration: images to fit 16-bit fixed point to; None stands for fp32."""

    program: Callable[[int], Program]
    reference: Callable[[Tensor], Tensor]
    image: Tensor
    calibration: Tensor | None = None


def network(net: nn.Module, image: Tensor, calibration: Tensor | None = None) -> Case:
    """A case that goes through a trace."""
    net = net.eval()
    graph, exact = trace(net, image), copy.deepcopy(net).double()
    return Case(lambda lanes: lower(net, graph, lanes), exact, image, calibration)


def targets(vector_bytes: int) -> Target:
    return Target("test", vector_bytes, 24 if vector_bytes == 64 else 12, FAST, (), ".so")


def plan_of(case: Case, vector_bytes: int) -> Plan:
    numbers = FP32 if case.calibration is None else INT16
    program = case.program(vector_bytes // numbers.bytes)
    return plan_program(program, vector_bytes, targets(vector_bytes).registers, numbers, case.calibration)


def write_many(plans: Sequence[Plan], pick: Callable[[int], int]) -> str:
    """The functions net_0, net_1, ... (in, out, workspace) of plans of one precision and width.

    pick: (number of an operation) -> which of its variants, counted round.
    """
    first = Writer(plans[0].program, plans[0].numbers, plans[0].vector_bytes, plans[0].registers)
    layers, ends = [], []
    for number, plan in enumerate(plans):
        shared = first.tables, first.functions, first.known
        writer = Writer(plan.program, plan.numbers, plan.vector_bytes, plan.registers, *shared)
        calls = []
        for index in range(len(plan.ops)):
            variants = plan.variants(index) or ("",)
            choice = variants[pick(index) % len(variants)]
            layers.append(layer(writer, plan, index, choice, f"layer_{number}_{index}"))
            calls.append(f"  layer_{number}_{index}(ws, in);")
        count, head = plan.program.output.count, f"void net_{number}(const float *in, float *out, vn *ws)"
        copy = f"  memcpy(out, ws + {plan.program.output.offset}, {count} * sizeof(float));"
        ends.append("\n".join([f"{head};", f"{head} {{", *calls, copy, "}"]))
    return assemble(first, layers, "\n".join(ends))


def run_c(library: ctypes.CDLL, number: int, plan: Plan, image: Tensor) -> Tensor:
    """One image through net_NUMBER, in a workspace of NaNs with a guard on both sides, which is checked afterwards."""
    size, guard = plan.workspace_bytes, GUARD * plan.vector_bytes
    held = np.full(size + 2 * guard + 64, 0xFF, dtype=np.uint8)
    start = -held.ctypes.data % 64
    out = torch.empty(plan.program.output_shape)
    run = getattr(library, f"net_{number}")
    run.argtypes, run.restype = [ctypes.c_void_p] * 3, None
    run(image.contiguous().data_ptr(), out.data_ptr(), held.ctypes.data + start + guard)
    inside = slice(start + guard, start + guard + size)
    assert (np.delete(held, np.r_[inside]) == 0xFF).all(), "something was written outside the workspace"
    return out


def outputs(
    cases: Sequence[Case], vector_bytes: int = 64, pick: Callable[[int], int] = lambda index: 0
) -> list[Tensor]:
    """What the C gives for every case's image, without the batch axis."""
    plans = [plan_of(case, vector_bytes) for case in cases]
    source = write_many(plans, pick)
    library = ctypes.CDLL(str(compile_c(source, targets(vector_bytes), ())))
    return [run_c(library, n, plans[n], case.image) for n, case in enumerate(cases)]


def errors(cases: Sequence[Case], vector_bytes: int = 64, pick: Callable[[int], int] = lambda index: 0) -> list[float]:
    """For every case the largest difference from PyTorch in float64, as a share of the largest output."""
    found = []
    for case, got in zip(cases, outputs(cases, vector_bytes, pick), strict=True):
        with torch.inference_mode():
            expected = case.reference(case.image.double())[0]
        assert got.shape == expected.shape
        most = float(expected.abs().max())
        found.append(float((got - expected).abs().max()) / (most or 1.0))
    return found


def sparse_(net: nn.Module, density: float, seed: int = 0) -> nn.Module:
    """Keep about this share of all weights with two axes or more; batch norms get statistics of their own."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() > 1:
                weight.mul_(torch.rand(weight.shape, generator=draws) < density)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and module.running_mean is not None:
                module.running_mean.normal_(generator=draws).mul_(0.1)
                module.running_var.uniform_(0.5, 1.5, generator=draws)
                module.weight.uniform_(0.5, 1.5, generator=draws)
                module.bias.normal_(generator=draws).mul_(0.1)
    return net.eval()
