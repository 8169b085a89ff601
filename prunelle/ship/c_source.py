"""A network as one C file: GNU C99 with vector extensions, no library, weights as constants, memory planned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from prunelle.errors import SettingError
from prunelle.graph.trace import trace
from prunelle.ship.c import linear, maps, pools, rows, vectors
from prunelle.ship.c.conv import CONV_TABLE, Shape, shapes, write_conv
from prunelle.ship.c.depthwise import write_windows
from prunelle.ship.c.fixed_point import Scales, fit_scales, in_fixed_point
from prunelle.ship.c.fuse import fuse, read_channels
from prunelle.ship.c.lower import lower
from prunelle.ship.c.memory import place_buffers_
from prunelle.ship.c.ops import (
    Flatten,
    Gather,
    Linear,
    Load,
    LoadVector,
    MapEach,
    Maps,
    Mean,
    Pool,
    Program,
    Softmax,
    VectorEach,
)
from prunelle.ship.c.pairs import fuse_pools
from prunelle.ship.c.prelude import prelude
from prunelle.ship.c.taps import Expand, Placed, TapConv, Windows, place_taps
from prunelle.ship.c.writer import FP32, INT16, Numbers, Writer
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


def write_c(plan: Plan, name: str, choices: Choices, ending: Callable[[str, Plan], str]) -> str:
    """The text of the C file. choices: operation -> variant; the first of its variants where there is none.

    ending: writes the functions that others call, from the name and the plan.
    """
    writer = Writer(plan.program, plan.numbers, plan.vector_bytes, plan.registers)
    layers = []
    for index in range(len(plan.ops)):
        wanted = plan.variants(index)
        choice = choices.get(index, wanted[0] if wanted else "")
        layers.append(layer(writer, plan, index, choice, f"layer_{index}"))
    return assemble(writer, layers, ending(name, plan))


def write_trials(plan: Plan, name: str) -> str:
    """The text of a C file that holds every variant of every operation, to be timed one by one."""
    writer = Writer(plan.program, plan.numbers, plan.vector_bytes, plan.registers)
    layers, cases = [], []
    for index in range(len(plan.ops)):
        for number, choice in enumerate(plan.variants(index) or ("",)):
            layers.append(layer(writer, plan, index, choice, f"layer_{index}_{number}"))
            cases.append(f"  if (layer == {index} && variant == {number}) run = layer_{index}_{number};")
    body = TRIALS.replace("@NAME@", name).replace("@CASES@", "\n".join(cases))
    return assemble(writer, layers, body)


TRIALS = """\
void @NAME@_layer(int32_t layer, int32_t variant, const float *in, void *workspace, int32_t times);
void @NAME@_layer(int32_t layer, int32_t variant, const float *in, void *workspace, int32_t times) {
  void (*run)(vn *, const float *) = 0;
@CASES@
  for (; run && times > 0; times--) run((vn *)workspace, in);
}
"""


def assemble(writer: Writer, layers: list[str], ending: str) -> str:
    kind = "float" if writer.numbers is FP32 else "int32_t"
    weights = WEIGHTS_FP32 if writer.numbers is FP32 else WEIGHTS_INT16
    types = f"typedef {kind} weight_t;\n{weights}"
    parts = [
        prelude(writer.numbers, writer.vector_bytes), types, CONV_TABLE, maps.MAP_TABLE, vectors.VECTOR_TABLE,
        *writer.tables, *writer.functions.values(), *layers, ending,
    ]  # fmt: skip
    return "\n".join(parts)


WEIGHTS_FP32 = """\
typedef float spread_t;
#define spread_weight(w) (w)
#define ADD(sum, w, x) sum += w * x
#define LOWEST -3.40282347e38f
#define spread_number(x) ((vn){0} + (x))
"""

WEIGHTS_INT16 = """\
typedef vn spread_t;
#define spread_weight(w) ((vn)((vi){0} + (w)))
#define ADD(sum, w, x) sum += times(w, x)
#define LOWEST -32768
#define spread_number(x) spread(x)
static inline UNUSED number to_number(float x, float scale) {
  x *= scale;
  x = x > 32767.f ? 32767.f : x < -32767.f ? -32767.f : x;
  return (number)(x + (x < 0 ? -.5f : .5f));
}
typedef int16_t vhalf __attribute__((vector_size(BYTES / 2)));
static inline UNUSED vhalf to_numbers(vf x, float scale) {
  x = clampf_(x * scale, -32767.f, 32767.f);
  x += eitherf(spreadf(-.5f), spreadf(.5f), (vi)(x < (vf){0}));
  return __builtin_convertvector(__builtin_convertvector(x, vi), vhalf);
}
static inline UNUSED vf to_floats(const number *from) {
  vhalf r;
  memcpy(&r, from, sizeof r);
  return __builtin_convertvector(r, vf);
}
"""


def layer(writer: Writer, plan: Plan, index: int, choice: Choice, name: str) -> str:
    """One operation as a C function of the workspace."""
    op = plan.ops[index]
    lines = body(writer, op, choice, plan)
    if isinstance(op.out, Maps) and not isinstance(op, Expand):
        lines += "\n" + maps.halo(writer, op.out, plan.read)
    unused = "" if isinstance(op, Load | LoadVector) else "(void)in;\n"
    unused += "" if lines.strip() else "(void)ws;\n"
    text = "\n".join("  " + line for line in (unused + lines).strip().split("\n"))
    # A module may be called anything, also what ends a comment.
    called = re.sub(r"[^\w.]", "_", getattr(op, "name", "")) or "network"
    told = f"/* {called}: {type(op).__name__} */"
    return f"{told}\nstatic void {name}(vn *ws, const float *in) {{\n{text}\n}}\n"


def body(writer: Writer, op: Placed, choice: Choice, plan: Plan) -> str:
    read, scales = plan.read, plan.scales
    if isinstance(op, TapConv):
        assert isinstance(choice, Shape)
        return write_conv(writer, op, choice, read)
    if isinstance(op, Windows):
        return write_windows(writer, op, read)
    if isinstance(op, Linear):
        assert isinstance(choice, str)
        return linear.write_linear(writer, op, choice)
    if isinstance(op, Expand):
        return rows.write_expand(writer, op)
    if isinstance(op, LoadVector):
        return vectors.write_load_vector(op)
    if isinstance(op, Load):
        return maps.write_load(writer, op, scales.of(op.out.first) if scales else None)
    if isinstance(op, MapEach):
        return maps.write_each(writer, op, read)
    if isinstance(op, Pool):
        return pools.write_pool(writer, op, read)
    if isinstance(op, Mean):
        return maps.write_mean(writer, op, [scales.of(n) for n in op.x] if scales else None)
    if isinstance(op, Flatten):
        return maps.write_flatten(writer, op, [scales.of(n) for n in op.x] if scales else None)
    if isinstance(op, VectorEach):
        return vectors.write_vector_each(writer, op)
    if isinstance(op, Softmax):
        return vectors.write_softmax(writer, op)
    assert isinstance(op, Gather), f"no C for {op}"
    return vectors.write_gather(writer, op)


def run_function(name: str, plan: Plan) -> str:
    """The function that others call."""
    calls = "\n".join(f"  layer_{index}(ws, in);" for index in range(len(plan.ops)))
    count = int(np.prod(plan.program.output_shape))
    return f"""\
void {name}_run(const float *in, float *out, void *workspace);
void {name}_run(const float *in, float *out, void *workspace) {{
  vn *ws = (vn *)workspace;
{calls}
  memcpy(out, ws + {plan.program.output.offset}, {count} * sizeof(float));
}}
"""


def layer_function(name: str, plan: Plan) -> str:
    """The function that runs one layer again and again."""
    count = len(plan.ops)
    table = ", ".join(f"layer_{index}" for index in range(count))
    return f"""\
void {name}_layer(int layer, const float *in, void *workspace, int times);
void {name}_layer(int layer, const float *in, void *workspace, int times) {{
  static void (*const layers[{count}])(vn *, const float *) = {{{table}}};
  for (; layer >= 0 && layer < {count} && times > 0; times--) layers[layer]((vn *)workspace, in);
}}
"""
