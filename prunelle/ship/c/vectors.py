"""The C of what happens to vectors of floats: linear layers in several forms, steps, softmax, pieces."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.ops import Gather, Linear, Softmax, VectorEach
from prunelle.ship.c.steps import Written, struct, write_vector_steps
from prunelle.ship.c.writer import Writer

FORMS = ("rows", "columns", "lists")
"""rows: dense rows, one an input, inputs that are zero skipped. columns: only weights that are not zero, inputs that
are zero skipped. lists: only weights that are not zero, one sum an output."""

VECTOR_TABLE = """\
typedef struct {
  const int32_t *count, *place;
  const float *weight, *bias;
  int32_t in, out, inputs, outputs;
  const int32_t *index[6];
  const float *factor[6];
} vector_table;
"""


def forms(op: Linear) -> tuple[str, ...]:
    """The forms worth timing. A large dense layer has no lists."""
    share = np.count_nonzero(op.weight) / max(op.weight.size, 1)
    if share > 0.5:
        return ("rows",)
    return FORMS if op.weight.size <= 1 << 22 else ("columns", "lists")


def write_linear(writer: Writer, op: Linear, form: str) -> str:
    """y = weight x + bias in one of the forms, then the steps."""
    floats = writer.float_lanes
    outputs, inputs = op.weight.shape
    padded = -(-outputs // floats) * floats
    bias = writer.floats(np.pad(op.bias, (0, padded - outputs)))
    made = write_vector_steps(writer, op.steps, outputs)
    counts, places, weights = {"rows": as_rows, "columns": as_columns, "lists": as_lists}[form](op.weight, padded)
    writer.function(f"linear_{form}", BODIES[form])
    fields = [
        writer.ints(counts), writer.ints(places), writer.floats(weights), bias, str(op.x.offset), str(op.out.offset),
        str(inputs), str(padded if form != "lists" else outputs), struct(made),
    ]  # fmt: skip
    lines = [f"static const vector_table t = {{{', '.join(fields)}}};", f"linear_{form}(ws, &t);"]
    if op.steps:
        lines.append(each_call(writer, made, outputs))
    return "\n".join(lines)


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


ROWS = """\
static void linear_rows(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in);
  vf *y = (vf *)(ws + t->out);
  const int32_t vectors = t->outputs / FLOATS, used = t->count[0];
  memcpy(y, t->bias, (size_t)vectors * sizeof(vf));
  for (int32_t first = 0; first < used; first += 256) {
    int32_t live[256], n = 0;
    const int32_t last = used - first < 256 ? used : first + 256;
    for (int32_t i = first; i < last; i++) {
      live[n] = i;
      n += x[t->place[i]] != 0;
    }
    int32_t at = 0;
    for (; at + 8 <= vectors; at += 8) {
      vf a = y[at], b = y[at + 1], c = y[at + 2], d = y[at + 3];
      vf e = y[at + 4], f = y[at + 5], g = y[at + 6], h = y[at + 7];
      for (int32_t k = 0; k < n; k++) {
        const vf *w = (const vf *)t->weight + (long)live[k] * vectors + at;
        const float s = x[t->place[live[k]]];
        a += s * w[0]; b += s * w[1]; c += s * w[2]; d += s * w[3];
        e += s * w[4]; f += s * w[5]; g += s * w[6]; h += s * w[7];
      }
      y[at] = a; y[at + 1] = b; y[at + 2] = c; y[at + 3] = d;
      y[at + 4] = e; y[at + 5] = f; y[at + 6] = g; y[at + 7] = h;
    }
    for (; at < vectors; at++) {
      vf a = y[at], b = {0};
      int32_t k = 0;
      for (; k + 2 <= n; k += 2) {
        a += x[t->place[live[k]]] * ((const vf *)t->weight)[(long)live[k] * vectors + at];
        b += x[t->place[live[k + 1]]] * ((const vf *)t->weight)[(long)live[k + 1] * vectors + at];
      }
      if (k < n) a += x[t->place[live[k]]] * ((const vf *)t->weight)[(long)live[k] * vectors + at];
      y[at] = a + b;
    }
  }
}
"""

COLUMNS = """\
static void linear_columns(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in), *weight = t->weight;
  float *y = (float *)(ws + t->out);
  const int32_t *place = t->place;
  memcpy(y, t->bias, (size_t)t->outputs * sizeof(float));
  for (int32_t i = 0; i < t->inputs; i++) {
    const int32_t n = t->count[i];
    const float s = x[i];
    if (s != 0)
      for (int32_t k = 0; k < n; k++) y[place[k]] += s * weight[k];
    place += n;
    weight += n;
  }
}
"""

LISTS = """\
static void linear_lists(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in), *weight = t->weight;
  float *y = (float *)(ws + t->out);
  const int32_t *place = t->place;
  for (int32_t o = 0; o < t->outputs; o++) {
    float a = t->bias[o], b = 0, c = 0, d = 0;
    int32_t n = t->count[o];
    for (; n >= 4; n -= 4, place += 4, weight += 4) {
      a += x[place[0]] * weight[0];
      b += x[place[1]] * weight[1];
      c += x[place[2]] * weight[2];
      d += x[place[3]] * weight[3];
    }
    for (; n > 0; n--) a += x[*place++] * *weight++;
    y[o] = (a + b) + (c + d);
  }
}
"""

BODIES = {"rows": ROWS, "columns": COLUMNS, "lists": LISTS}


def each_call(writer: Writer, made: Written, count: int) -> str:
    """Steps on the vector that the table's `out` names, in place."""
    name = f"vector{made.name}"
    lines = "\n    ".join(line.replace("@i", "i") for line in made.lines)
    writer.function(
        name,
        f"""\
static void {name}(vn *ws, const vector_table *t, int32_t vectors) {{
  vf *y = (vf *)(ws + t->out);
  const vf *x = (const vf *)(ws + t->in);
  for (int32_t i = 0; i < vectors; i++) {{
    vf r = x[i];
    {lines}
    y[i] = r;
  }}
}}
""",
    )
    return f"{{ vector_table s = t; s.in = t.out; {name}(ws, &s, {-(-count // writer.float_lanes)}); }}"


def write_vector_each(writer: Writer, op: VectorEach) -> str:
    """Steps on a vector, into another."""
    made = write_vector_steps(writer, op.steps, op.out.count)
    fields = f"{{0, 0, 0, 0, {op.x.offset}, {op.out.offset}, 0, 0, {struct(made)}}}"
    call = each_call(writer, made, op.out.count).replace("s.in = t.out; ", "")
    return f"static const vector_table t = {fields};\n{call}"


def write_softmax(writer: Writer, op: Softmax) -> str:
    """e^x over its sum, or the logarithm of that; the largest is taken off first."""
    writer.function(
        "softmax",
        """\
static float log_(float x) {
  /* x = m * 2^e with m in [0.7, 1.41): log m by atanh's series. */
  int32_t bits;
  memcpy(&bits, &x, 4);
  int32_t e = ((bits - 0x3f3504f3) >> 23);
  bits -= e << 23;
  float m;
  memcpy(&m, &bits, 4);
  const float s = (m - 1) / (m + 1), q = s * s;
  return (float)e * .69314718f + 2 * s * (1 + q * (1.f / 3 + q * (1.f / 5 + q * (1.f / 7 + q * (1.f / 9)))));
}
static void softmax(vn *ws, int32_t in, int32_t out, int32_t count, int32_t logarithm) {
  const float *x = (const float *)(ws + in);
  float *y = (float *)(ws + out), most = x[0], sum = 0;
  for (int32_t i = 1; i < count; i++) most = x[i] > most ? x[i] : most;
  for (int32_t i = 0; i < count; i += FLOATS) {
    float piece[FLOATS] = {0};
    for (int32_t k = 0; k < FLOATS && i + k < count; k++) piece[k] = x[i + k] - most;
    const vf r = exp_(loadf(piece));
    for (int32_t k = 0; k < FLOATS && i + k < count; k++) {
      sum += r[k];
      y[i + k] = logarithm ? piece[k] : r[k];
    }
  }
  const float all = logarithm ? log_(sum) : 1 / sum;
  for (int32_t i = 0; i < count; i++) y[i] = logarithm ? y[i] - all : y[i] * all;
}
""",
    )
    return f"softmax(ws, {op.x.offset}, {op.out.offset}, {op.out.count}, {int(op.log)});"


def write_gather(writer: Writer, op: Gather) -> str:
    """Pieces copied one behind the other."""
    lines, at = [], 0
    for vector, first, count in op.pieces:
        lines.append(
            f"memcpy((float *)(ws + {op.out.offset}) + {at}, (const float *)(ws + {vector.offset}) + {first}, "
            f"{count} * sizeof(float));"
        )
        at += count
    return "\n".join(lines)
