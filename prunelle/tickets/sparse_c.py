"""The C of training only the weights that are kept: forward, backward and the optimizer's step, on one thread.

Activations lie feature by feature, the images of the batch innermost, so a kept weight is a multiple of one row added
to another whatever its neighbours are. A row of 128 images fits eight 64-byte vectors, which stay in registers.
torch's sparse CSR takes 2 to 5 times as long for the products of an update alone as this for all of it
(benchmarks/tickets_throughput.py tells both).
"""

from __future__ import annotations

from prunelle.ship.c.prelude import prelude
from prunelle.ship.c.writer import FP32
from prunelle.tickets.sparse_conv_c import CONVOLUTIONS
from prunelle.tickets.sparse_linear_c import LINEAR
from prunelle.tickets.sparse_loss_c import LOSS
from prunelle.tickets.sparse_optimizers_c import OPTIMIZERS


def sparse_source(vector_bytes: int) -> str:
    """The whole text; it knows no network: sizes and lists come in as `member`. vector_bytes: 64, 32 or 16."""
    lanes = vector_bytes // 4
    parts = (
        prelude(FP32, vector_bytes),
        STRUCTS,
        transposition(lanes),
        adding_up(lanes),
        LINEAR,
        CONVOLUTIONS,
        LOSS,
        OPTIMIZERS,
        STEP,
    )
    return "\n".join(parts)


def transposition(lanes: int) -> str:
    """`transpose_`: lanes x lanes numbers in place, by swapping blocks of 1, 2, 4... lanes between pairs of vectors."""
    lines = []
    step = 1
    while step < lanes:
        low = [j if not j & step else lanes + j - step for j in range(lanes)]
        high = [j + step if not j & step else lanes + j for j in range(lanes)]
        lines.append(
            f"  for (int32_t i = 0; i < LANES; i++)\n    if (!(i & {step})) {{\n"
            f"      const vn a = x[i], b = x[i + {step}];\n"
            f"      x[i] = MOVE(a, b, {', '.join(map(str, low))});\n"
            f"      x[i + {step}] = MOVE(a, b, {', '.join(map(str, high))});\n    }}"
        )
        step *= 2
    return "INLINE void transpose_(vn *x) {\n" + "\n".join(lines) + "\n}\n"


def adding_up(lanes: int) -> str:
    """`sum_`: the sum of a vector's lanes, halves onto halves."""
    lines = []
    half = lanes // 2
    while half:
        places = [(j + half) % lanes for j in range(lanes)]
        lines.append(f"  x += MOVE(x, x, {', '.join(map(str, places))});")
        half //= 2
    return "INLINE float sum_(vn x) {\n" + "\n".join(lines) + "\n  return x[0];\n}\n"


STRUCTS = """
#define INLINE static inline __attribute__((always_inline)) UNUSED
/* A linear layer. Its inputs are taken chunk by chunk, few enough for the nearest cache; in one chunk where few weights
   are kept. The kept weights of output o that read chunk c stand from first[c * outputs + o] to the next, input[k] is
   the row that weight k reads. The same input by input: from column[i] to column[i + 1], place[k] is where in the first
   order the weight stands and output[k] what it goes to. rows: the outputs that anything depends on. reads: the rows
   of its input that want a gradient. places: rows of what it gives.
   A convolution of stride 1 without padding, where width, that of its input, is not 0: outputs are channels, the
   weights of output o, in one chunk, read the rows from input[k] on. high, wide: of what it gives before a maximum is
   taken over pool x pool, pooled_high and pooled_wide afterwards. most: weights of one output. */
typedef struct {
  const int32_t *first, *input, *column, *place, *output, *rows, *reads;
  int32_t num_rows, num_reads, chunks, outputs, places, weight, bias, activation;
  int32_t width, high, wide, pool, pooled_high, pooled_wide, most;
  float slope;
} layer;
/* weights: all kept ones and the biases, layer after layer; `first` and `second`, of the optimizer, lie alike. ends: of
   each tensor among them. counts: of its steps. */
typedef struct {
  const layer *layers;
  float *weights, *first, *second, *counts;
  const int32_t *ends;
  int32_t num_layers, num_tensors;
} member;
/* kind: 0 SGD, 1 Adam, 2 AdamW. */
typedef struct {
  int32_t kind, nesterov;
  double momentum, weight_decay, beta1, beta2, eps, smoothing;
} rule;
/* What one step of all members reads and writes. order: of members, so that those of one batch follow one another and
   it is turned once. images: (size, features) a member, labels: (size), lrs, losses: one a member. space: for the
   turned images and every layer's rows; gradients: for those of any member. */
typedef struct {
  int32_t members, size, features;
  const int32_t *order;
  const float *const *images;
  const int64_t *const *labels;
  const double *lrs;
  float *losses, *gradients;
  void *space;
} task;
"""

STEP = """
/* images (batch, features) to (features, v vectors), zeros behind the last image. */
static void turn(vn *to, const float *images, int32_t batch, int32_t features, int32_t v) {
  for (int32_t b = 0; b < v; b++) {
    const int32_t images_here = batch - b * LANES < LANES ? batch - b * LANES : LANES;
    for (int32_t f = 0; f < features; f += LANES) {
      const int32_t here = features - f < LANES ? features - f : LANES;
      vn x[LANES];
      for (int32_t i = 0; i < LANES; i++) {
        x[i] = (vn){0};
        if (i < images_here) {
          const float *from = images + (int64_t)(b * LANES + i) * features + f;
          if (here == LANES) x[i] = load(from);
          else memcpy(&x[i], from, (size_t)here * sizeof(float));
        }
      }
      transpose_(x);
      for (int32_t i = 0; i < here; i++) to[(int64_t)(f + i) * v + b] = x[i];
    }
  }
}
/* Whether all are finite: the product with 0 is NaN where one is not. */
static int all_finite(const float *x, int32_t count) {
  vn all = {0};
  int32_t i = 0;
  for (; i + LANES <= count; i += LANES) all += load(x + i) * 0.f;
  float rest = 0;
  for (; i < count; i++) rest += x[i] * 0.f;
  rest += sum_(all);
  return rest == 0.f;
}
/* Room for what layers leave to one another: `which` of a pooling one has a byte where its rows have a float. */
typedef struct {
  vn *out, *next;
  vb *which;
} room;
static room room_behind(vn *free, const layer *l, int32_t v) {
  room r = {free, free + (int64_t)l->places * v, 0};
  if (l->width && l->pool > 1) {
    r.which = (vb *)r.next;
    r.next += ((int64_t)l->places * v + 3) / 4;
  }
  return r;
}
/* The convolutions in front take PART vectors of images at a time, so that what they leave stays in the second-level
   cache; it lies part by part, row by row, vector by vector, and in `flat` as linear layers read it. */
#define EACH_PART for (int32_t at = 0, n = PART < v ? PART : v; at < v; at += n, n = v - at < PART ? v - at : PART)
static void convolve(const member *m, const vn *images, const room *rooms, int32_t count, vn *free, vn *flat,
                     int32_t features, int32_t v) {
  const layer *l = m->layers;
  EACH_PART {
    for (int32_t i = 0; i < count; i++) {
      const vn *in = i ? rooms[i - 1].out + (int64_t)at * l[i - 1].places : images + (int64_t)at * features;
      const int64_t from = (int64_t)at * l[i].places;
      conv_forward(l + i, m->weights, in, rooms[i].out + from, rooms[i].which + from, free, n);
    }
    const vn *out = rooms[count - 1].out + (int64_t)at * l[count - 1].places;
    for (int64_t i = 0; i < l[count - 1].places; i++)
      for (int32_t j = 0; j < n; j++) flat[i * v + at + j] = out[i * n + j];
  }
}
/* flat: holds the gradient now. */
static void convolve_back(const member *m, float *g, vn *images, const room *rooms, int32_t count, vn *free,
                          const vn *flat, int32_t features, int32_t v) {
  const layer *l = m->layers;
  EACH_PART {
    vn *out = rooms[count - 1].out + (int64_t)at * l[count - 1].places;
    for (int64_t i = 0; i < l[count - 1].places; i++)
      for (int32_t j = 0; j < n; j++) out[i * n + j] = flat[i * v + at + j];
    for (int32_t i = count - 1; i >= 0; i--) {
      vn *in = i ? rooms[i - 1].out + (int64_t)at * l[i - 1].places : images + (int64_t)at * features;
      const int64_t from = (int64_t)at * l[i].places;
      conv_gradients(l + i, m->weights, g, in, rooms[i].out + from, rooms[i].which + from, free, i > 0, n);
    }
  }
}
/* One update; the loss before it. Nothing is updated where the loss or a gradient is not finite. */
static float update(member *m, const rule *r, const task *t, vn *images, vn *space, int32_t i) {
  const int32_t v = (t->size + LANES - 1) / LANES, last = m->num_layers - 1, count = m->ends[m->num_tensors - 1];
  const layer *l = m->layers;
  int32_t front = 0;
  vn *flat = images;
  room rooms[last + 1];
  for (int32_t n = 0; n <= last; n++) {
    rooms[n] = room_behind(n ? rooms[n - 1].next : space, l + n, v);
    if (l[n].width) front = n + 1;
  }
  vn *free = rooms[last].next;
  if (front) {
    flat = free;
    free += (int64_t)l[front - 1].places * v;
    convolve(m, images, rooms, front, free, flat, t->features, v);
  }
  for (int32_t n = front; n <= last; n++)
    forward(l + n, m->weights, n > front ? rooms[n - 1].out : flat, rooms[n].out, v);
  const float loss = cross_entropy(rooms[last].out, t->labels[i], l[last].outputs, t->size, v, (float)r->smoothing);
  memset(t->gradients, 0, (size_t)count * sizeof(float));
  for (int32_t n = last; n >= front; n--) {
    vn *in = n > front ? rooms[n - 1].out : flat;
    weights(l + n, t->gradients, in, rooms[n].out, v);
    if (n) inputs(l + n, m->weights, in, rooms[n].out, v);
  }
  if (front) convolve_back(m, t->gradients, images, rooms, front, free, flat, t->features, v);
  if (!all_finite(&loss, 1) || !all_finite(t->gradients, count)) return loss;
  if (r->kind) adam(m, t->gradients, r, t->lrs[i]);
  else sgd(m, t->gradients, r, (float)t->lrs[i]);
  return loss;
}
/* As `turn`, in the parts that a first convolution takes. */
static void turn_parts(vn *to, const float *images, int32_t batch, int32_t features, int32_t v) {
  EACH_PART turn(to + (int64_t)at * features, images + (int64_t)at * LANES * features, batch - at * LANES, features, n);
}
/* One update of each member. Gives the first member with a label that is no class, before anything is done; else -1. */
int32_t sparse_step(member *members, const rule *r, const task *t) {
  const int32_t v = (t->size + LANES - 1) / LANES;
  vn *turned = t->space, *rows = turned + (int64_t)t->features * v;
  for (int32_t i = 0; i < t->members; i++) {
    const int64_t classes = members[i].layers[members[i].num_layers - 1].outputs;
    for (int32_t n = 0; n < t->size; n++)
      if (t->labels[i][n] < 0 || t->labels[i][n] >= classes) return i;
  }
  const float *before = 0;
  for (int32_t n = 0; n < t->members; n++) {
    const int32_t i = t->order[n];
    if (t->images[i] != before)
      (members[i].layers->width ? turn_parts : turn)(turned, t->images[i], t->size, t->features, v);
    before = t->images[i];
    t->losses[i] = update(members + i, r, t, turned, rows, i);
  }
  return -1;
}
"""
