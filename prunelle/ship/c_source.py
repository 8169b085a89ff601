"""A network as one C file: GNU C99 with vector extensions, no library, weights as constants, memory planned."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from prunelle.ship.c import linear, maps, pools, rows, vectors
from prunelle.ship.c.conv import CONV_TABLE, Shape, write_conv
from prunelle.ship.c.depthwise import write_windows
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
    Softmax,
    VectorEach,
)
from prunelle.ship.c.prelude import prelude
from prunelle.ship.c.taps import Expand, Placed, TapConv, Windows
from prunelle.ship.c.writer import FP32, Writer
from prunelle.ship.c_plan import Choice, Choices, Plan


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
