"""The C of linear layers, in several forms."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.linear_rows import as_rows, as_rows16, write_rows
from prunelle.ship.c.ops import Linear
from prunelle.ship.c.steps import FIELDS, struct, write_vector_steps
from prunelle.ship.c.vectors import each_call
from prunelle.ship.c.writer import FP32, Numbers, Writer

FORMS = ("rows", "columns", "lists")
"""rows: dense rows, one an input, inputs that are zero skipped. columns: only weights that are not zero, inputs that
are zero skipped. lists: only weights that are not zero, one sum an output. In int16 rows are integers."""


def forms(op: Linear, numbers: Numbers) -> tuple[str, ...]:
    """The forms worth timing, the likeliest first. A large sparse layer has no dense rows, a dense one no lists."""
    rows = "rows" if numbers is FP32 else "rows16"
    share = np.count_nonzero(op.weight) / max(op.weight.size, 1)
    if share > 0.5:
        return ("rows",) if numbers is FP32 else ("rows16", "rows")
    return (rows, "columns", "lists") if op.weight.size <= 1 << 22 else ("columns", "lists")


def write_linear(writer: Writer, op: Linear, form: str) -> str:
    """y = weight x + bias in one of the forms, then the steps.

    An input may have a base, the value of most of an image's pixels: y = weight (x - base) + (bias + weight base), and
    what is zero there is skipped.
    """
    outputs, inputs = op.weight.shape
    lanes = writer.lanes if form == "rows16" else writer.float_lanes
    padded = -(-outputs // lanes) * lanes
    bias = writer.floats(np.pad(op.bias + op.weight.sum(axis=1) * op.base, (0, padded - outputs)))
    made = write_vector_steps(writer, op.steps, outputs)
    if form == "rows16":
        counts, places, weights, units = as_rows16(op.weight, padded)
        made.factors += ["0"] * (FIELDS - 1 - len(made.factors)) + [writer.floats(units)]
        table = writer.shorts(weights)
    else:
        counts, places, values = {"rows": as_rows, "columns": as_columns, "lists": as_lists}[form](op.weight, padded)
        table = writer.floats(values)
    if form in BODIES:
        name = writer.function(f"linear_{form}", BODIES[form])
    else:
        name = write_rows(writer, padded // lanes, form)
    fields = [
        writer.ints(counts), writer.ints(places), f"(const weight_t *){table}", bias, str(op.x.offset),
        str(op.out.offset), str(inputs), str(padded if form != "lists" else outputs), f"{float(op.base)!r}f",
        struct(made),
    ]  # fmt: skip
    lines = [f"static const vector_table t = {{{', '.join(fields)}}};", f"{name}(ws, &t);"]
    if op.steps:
        lines.append(each_call(writer, made, outputs))
    return "\n".join(lines)


def as_columns(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """For every input: how many weights, to which outputs."""
    turned = weight.T
    inputs, outputs = np.nonzero(turned)
    return np.bincount(inputs, minlength=len(turned)).tolist(), outputs.tolist(), turned[inputs, outputs]


def as_lists(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """For every output: how many weights, of which inputs."""
    outputs, inputs = np.nonzero(weight)
    return np.bincount(outputs, minlength=len(weight)).tolist(), inputs.tolist(), weight[outputs, inputs]


COLUMNS = """\
static void linear_columns(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in), *weight = (const float *)t->weight;
  float *y = (float *)(ws + t->out);
  const int32_t *place = t->place;
  memcpy(y, t->bias, (size_t)t->outputs * sizeof(float));
  for (int32_t i = 0; i < t->inputs; i++) {
    const int32_t n = t->count[i];
    const float s = x[i] - t->base;
    if (s != 0)
      for (int32_t k = 0; k < n; k++) y[place[k]] += s * weight[k];
    place += n;
    weight += n;
  }
}
"""

LISTS = """\
static void linear_lists(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in), *weight = (const float *)t->weight, base = t->base;
  float *y = (float *)(ws + t->out);
  const int32_t *place = t->place;
  for (int32_t o = 0; o < t->outputs; o++) {
    float a = t->bias[o], b = 0, c = 0, d = 0;
    int32_t n = t->count[o];
    for (; n >= 4; n -= 4, place += 4, weight += 4) {
      a += (x[place[0]] - base) * weight[0];
      b += (x[place[1]] - base) * weight[1];
      c += (x[place[2]] - base) * weight[2];
      d += (x[place[3]] - base) * weight[3];
    }
    for (; n > 0; n--) a += (x[*place++] - base) * *weight++;
    y[o] = (a + b) + (c + d);
  }
}
"""

BODIES = {"columns": COLUMNS, "lists": LISTS}
