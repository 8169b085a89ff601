"""The C of linear layers, in several forms."""

from __future__ import annotations

import numpy as np

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
    writer.function("live_inputs", LIVE)
    writer.function(f"linear_{form}", BODIES[form])
    fields = [
        writer.ints(counts), writer.ints(places), f"(const weight_t *){table}", bias, str(op.x.offset),
        str(op.out.offset), str(inputs), str(padded if form != "lists" else outputs), f"{float(op.base)!r}f",
        struct(made),
    ]  # fmt: skip
    lines = [f"static const vector_table t = {{{', '.join(fields)}}};", f"linear_{form}(ws, &t);"]
    if op.steps:
        lines.append(each_call(writer, made, outputs))
    return "\n".join(lines)


def as_rows16(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray, np.ndarray]:
    """Rows as int16 in units of the output's largest sum of absolute weights over 256 inputs, after which the C
    goes on in floats, so that no sum can overflow; those units."""
    used = np.flatnonzero(weight.any(axis=0))
    blocks = [used[at : at + 256] for at in range(0, len(used), 256)]
    sums = [np.abs(weight[:, block]).sum(axis=1) for block in blocks] or [np.zeros(len(weight))]
    units = np.max(sums, axis=0) * (1 + 2 * min(len(used), 256) / 32767)
    rows = np.zeros((len(used), padded), dtype=np.int16)
    rows[:, : len(weight)] = np.rint(weight[:, used] / np.where(units > 0, units, 1)[:, None] * 32767).T
    return [len(used)], used.tolist(), rows.reshape(-1), np.pad(units, (0, padded - len(weight)))


def as_rows(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """Inputs that have a weight, and their rows, filled up to whole vectors."""
    used = np.flatnonzero(weight.any(axis=0))
    rows = np.zeros((len(used), padded))
    rows[:, : len(weight)] = weight[:, used].T
    return [len(used)], used.tolist(), rows.reshape(-1)


def as_columns(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """For every input: how many weights, to which outputs."""
    turned = weight.T
    inputs, outputs = np.nonzero(turned)
    return np.bincount(inputs, minlength=len(turned)).tolist(), outputs.tolist(), turned[inputs, outputs]


def as_lists(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """For every output: how many weights, of which inputs."""
    outputs, inputs = np.nonzero(weight)
    return np.bincount(outputs, minlength=len(weight)).tolist(), inputs.tolist(), weight[outputs, inputs]


LIVE = """\
/* Which of `count` used inputs differ from the base, from number `first` on, at most 256; where they lie. */
static inline UNUSED int32_t live_inputs(const vector_table *t, const float *x, int32_t first, int32_t count,
                                         int32_t *live) {
  const int32_t last = count - first < 256 ? count : first + 256;
  int32_t n = 0;
  for (int32_t i = first; i < last; i++) {
    live[n] = i;
    n += x[t->place[i]] != t->base;
  }
  return n;
}
"""

ROWS = """\
static void linear_rows(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in);
  vf *y = (vf *)(ws + t->out);
  const int32_t vectors = t->outputs / FLOATS, used = t->count[0];
  memcpy(y, t->bias, (size_t)vectors * sizeof(vf));
  for (int32_t first = 0; first < used; first += 256) {
    int32_t live[256];
    float value[256];
    const int32_t n = live_inputs(t, x, first, used, live);
    for (int32_t k = 0; k < n; k++) value[k] = x[t->place[live[k]]] - t->base;
    int32_t at = 0;
    for (; at + 8 <= vectors; at += 8) {
      vf a = y[at], b = y[at + 1], c = y[at + 2], d = y[at + 3];
      vf e = y[at + 4], f = y[at + 5], g = y[at + 6], h = y[at + 7];
      for (int32_t k = 0; k < n; k++) {
        const vf *w = (const vf *)t->weight + (long)live[k] * vectors + at;
        const float s = value[k];
        a += s * w[0]; b += s * w[1]; c += s * w[2]; d += s * w[3];
        e += s * w[4]; f += s * w[5]; g += s * w[6]; h += s * w[7];
      }
      y[at] = a; y[at + 1] = b; y[at + 2] = c; y[at + 3] = d;
      y[at + 4] = e; y[at + 5] = f; y[at + 6] = g; y[at + 7] = h;
    }
    for (; at + 2 <= vectors; at += 2) {
      vf a = y[at], b = y[at + 1];
      for (int32_t k = 0; k < n; k++) {
        const vf *w = (const vf *)t->weight + (long)live[k] * vectors + at;
        a += value[k] * w[0];
        b += value[k] * w[1];
      }
      y[at] = a;
      y[at + 1] = b;
    }
    if (at < vectors) {
      vf a = y[at];
      for (int32_t k = 0; k < n; k++) a += value[k] * ((const vf *)t->weight)[(long)live[k] * vectors + at];
      y[at] = a;
    }
  }
}
"""

ROWS16 = """\
static void linear_rows16(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in);
  float *y = (float *)(ws + t->out);
  const int32_t vectors = t->outputs / LANES, used = t->count[0];
  int32_t live[256];
  vn sums[8];
  memcpy(y, t->bias, (size_t)t->outputs * sizeof(float));
  for (int32_t first = 0; first < used; first += 256) {
    const int32_t n = live_inputs(t, x, first, used, live);
    float value[256], most = 0;
    for (int32_t k = 0; k < n; k++) {
      value[k] = x[t->place[live[k]]] - t->base;
      most = value[k] > most ? value[k] : -value[k] > most ? -value[k] : most;
    }
    if (!(most > 0)) continue;
    const float scale = 32767.f / most;
    weight_t spread_values[256];
    for (int32_t k = 0; k < n; k++) spread_values[k] = 0x10001 * (uint16_t)to_number(value[k], scale);
    for (int32_t at = 0; at < vectors; at += 8) {
      const int32_t many = vectors - at < 8 ? vectors - at : 8;
      vn a = {0}, b = a, c = a, d = a, e = a, f = a, g = a, h = a;
      if (many == 8)
        for (int32_t k = 0; k < n; k++) {
          const vn *w = (const vn *)t->weight + (long)live[k] * vectors + at, s = spread_weight(spread_values[k]);
          a += times(s, w[0]); b += times(s, w[1]); c += times(s, w[2]); d += times(s, w[3]);
          e += times(s, w[4]); f += times(s, w[5]); g += times(s, w[6]); h += times(s, w[7]);
        }
      else
        for (int32_t k = 0; k < n; k++) {
          const vn *w = (const vn *)t->weight + (long)live[k] * vectors + at, s = spread_weight(spread_values[k]);
          a += times(s, w[0]);
          if (many > 1) b += times(s, w[1]);
          if (many > 2) c += times(s, w[2]);
          if (many > 3) d += times(s, w[3]);
          if (many > 4) e += times(s, w[4]);
          if (many > 5) f += times(s, w[5]);
          if (many > 6) g += times(s, w[6]);
        }
      sums[0] = a; sums[1] = b; sums[2] = c; sums[3] = d; sums[4] = e; sums[5] = f; sums[6] = g; sums[7] = h;
      const number *sum = (const number *)sums;
      const float *unit = t->factor[5] + (long)at * LANES, back = most / 32767.f;
      float *to = y + (long)at * LANES;
      for (int32_t i = 0; i < many * LANES; i++) to[i] += (float)sum[i] * (unit[i] * back);
    }
  }
}
"""

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

BODIES = {"rows": ROWS, "rows16": ROWS16, "columns": COLUMNS, "lists": LISTS}
