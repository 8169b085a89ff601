"""What stands beside the C file: its header, a self-test, and a main.c that shows how to call it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import nn

from prunelle.data.task import Preprocessing
from prunelle.errors import ModelError
from prunelle.ship.c_plan import Plan
from prunelle.ship.frozen import frozen


def pattern(count: int) -> np.ndarray:
    """The input of the self-test: numbers in [-1, 1) that C and Python make alike.

    >>> pattern(2).tolist()
    [0.55072021484375, 0.100006103515625]
    """
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(1103515245) + np.uint64(12345)
    return ((steps >> np.uint64(8) & np.uint64(0xFFFF)).astype(np.float32) / 32768 - 1).astype(np.float32)


def self_test(name: str, plan: Plan, reference: nn.Module, tolerance: float) -> str:
    """A C function that runs the pattern and compares with what the reference gives for it.

    Raises ModelError when that is not finite.
    """
    shape = plan.program.input_shape
    net = frozen(reference) if any(True for _ in reference.parameters()) else reference
    with torch.inference_mode():
        expected = net(torch.from_numpy(pattern(int(np.prod(shape)))).view(1, *shape)).reshape(-1).float()
    if not expected.isfinite().all():
        raise ModelError(
            "native: outputs are NaN or infinite for an image of numbers in [-1, 1), all must be finite; ship a "
            "network whose weights are not as large."
        )
    most = float(expected.abs().max()) or 1.0
    bits = ", ".join(map(str, expected.numpy().view(np.uint32).tolist()))
    count = len(expected)
    return f"""\
int {name}_self_test(float *in, float *out, void *workspace) {{
  static const union {{ uint32_t bits[{count}]; float value[{count}]; }} expected = {{{{ {bits} }}}};
  for (uint64_t i = 0; i < {int(np.prod(shape))}; i++)
    in[i] = (float)(((i + 1) * 1103515245u + 12345u) >> 8 & 0xffff) / 32768 - 1;
  {name}_run(in, out, workspace);
  for (int i = 0; i < {count}; i++) {{
    const float off = out[i] - expected.value[i];
    if (!(off <= {tolerance * most!r}f && off >= {-tolerance * most!r}f)) return i + 1;
  }}
  return 0;
}}
"""


def header(name: str, plan: Plan, preprocessing: Preprocessing | None, precision: str) -> str:
    """NAME.h: sizes, what the input is, the functions."""
    channels, height, width = plan.program.input_shape
    upper, count = name.upper(), int(np.prod(plan.program.output_shape))
    try:
        made_by = version("prunelle")
    except PackageNotFoundError:
        made_by = "unknown"
    told = "The input is what the network reads, (channels, height, width) floats."
    lines = []
    if preprocessing is not None:
        low, high = preprocessing.value_range
        told += f" From a raw image: ((x - {low}) / ({high} - {low}) - mean) / std, per channel."
        for word, values in (("MEAN", preprocessing.mean), ("STD", preprocessing.std)):
            lines.append(f"#define {upper}_{word} {{{', '.join(f'{v!r}f' for v in values)}}}")
    defined = "\n".join(lines) + ("\n" if lines else "")
    return f"""\
/* {name}: made by Prunelle {made_by}, {precision}. {told}
   Nothing is allocated and nothing is kept between calls: threads may run it at once, each with its own workspace,
   which must lie at a multiple of 64. */
#ifndef {upper}_H
#define {upper}_H
#define {upper}_VERSION "{made_by}"
#define {upper}_CHANNELS {channels}
#define {upper}_HEIGHT {height}
#define {upper}_WIDTH {width}
#define {upper}_INPUTS {channels * height * width}
#define {upper}_OUTPUTS {count}
#define {upper}_WORKSPACE_BYTES {plan.workspace_bytes}
{defined}#ifdef __cplusplus
extern "C" {{
#endif
/* in: {upper}_INPUTS floats, out: {upper}_OUTPUTS floats. */
void {name}_run(const float *in, float *out, void *workspace);
/* 0 when a known input gives the known output, else the place of the first output that is off, from 1. */
int {name}_self_test(float *in, float *out, void *workspace);
/* One layer, so many times, to see where the time goes. */
void {name}_layer(int layer, const float *in, void *workspace, int times);
#ifdef __cplusplus
}}
#endif
#endif
"""


def main_c(name: str) -> str:
    """main.c: the self-test, then float32 images from standard input, the class of each to standard output."""
    upper = name.upper()
    return f"""\
/* cc -O3 -march=native -std=gnu99 -fno-strict-aliasing -o {name} main.c {name}.c
   ./{name} < images.f32    (raw float32, {upper}_INPUTS numbers an image; prints the class of each) */
#include <stdio.h>
#include "{name}.h"

static float in[{upper}_INPUTS], out[{upper}_OUTPUTS];
static char workspace[{upper}_WORKSPACE_BYTES] __attribute__((aligned(64)));

int main(void) {{
  const int wrong = {name}_self_test(in, out, workspace);
  if (wrong) {{
    fprintf(stderr, "{name}: output %d is not what it was when the network was written\\n", wrong);
    return 1;
  }}
  while (fread(in, sizeof in, 1, stdin) == 1) {{
    {name}_run(in, out, workspace);
    int best = 0;
    for (int i = 1; i < {upper}_OUTPUTS; i++)
      if (out[i] > out[best]) best = i;
    printf("%d\\n", best);
  }}
  return 0;
}}
"""
