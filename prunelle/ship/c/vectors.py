"""The C of what happens to vectors of floats: steps, softmax, pieces, an image that is one."""

from __future__ import annotations

from prunelle.ship.c.ops import Gather, LoadVector, Softmax, VectorEach
from prunelle.ship.c.steps import Written, struct, write_vector_steps
from prunelle.ship.c.writer import Writer

VECTOR_TABLE = """\
typedef struct {
  const int32_t *count, *place;
  const weight_t *weight;
  const float *bias;
  int32_t in, out, inputs, outputs;
  float base;
  const int32_t *index[6];
  const float *factor[6];
} vector_table;
"""


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
    fields = f"{{0, 0, 0, 0, {op.x.offset}, {op.out.offset}, 0, 0, 0, {struct(made)}}}"
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


def write_load_vector(op: LoadVector) -> str:
    """The image, as it lies."""
    return f"memcpy(ws + {op.out.offset}, in, {op.out.count} * sizeof(float));"
