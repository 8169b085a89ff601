"""The C of training only the weights that are kept: forward, backward and the optimizer's step, on one thread.

Activations lie feature by feature, the images of the batch innermost, so a kept weight is a multiple of one row added
to another whatever its neighbours are. A row of 128 images fits eight 64-byte vectors, which stay in registers.
"""

from __future__ import annotations

from prunelle.ship.c.prelude import prelude
from prunelle.ship.c.writer import FP32

ACTIVATIONS = ("none", "relu", "leaky", "tanh", "sigmoid")
"""A layer's `activation` in the C text is the place in this list."""


def sparse_source(vector_bytes: int) -> str:
    """The whole text; it knows no network: sizes and lists come in as `member`. vector_bytes: 64, 32 or 16."""
    lanes = vector_bytes // 4
    parts = (
        prelude(FP32, vector_bytes),
        STRUCTS,
        transposition(lanes),
        adding_up(lanes),
        LAYERS,
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
   order the weight stands and output[k] what it goes to. rows: the outputs that anything depends on. */
typedef struct {
  const int32_t *first, *input, *column, *place, *output, *rows;
  int32_t num_rows, chunks, outputs, weight, bias, activation;
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

LAYERS = """
/* The exponential's clamp would make a number of NaN. */
INLINE vn honest_(vn y, vn x) { return either(y, x, (vm)(x == x)); }
INLINE vn activate_(vn x, const layer *l) {
  switch (l->activation) {
    case 1: return largerf((vn){0}, x); /* in this order NaN stays */
    case 2: return leaky_(x, l->slope);
    case 3: return honest_(tanh_(x), x);
    case 4: return honest_(sigmoid_(x), x);
    default: return x;
  }
}
/* The derivative, told from what the activation gave. */
INLINE vn slope_(vn gradient, vn y, const layer *l) {
  switch (l->activation) {
    case 1: return keep(gradient, (vm)(y > (vn){0}));
    case 2: return either(gradient, gradient * l->slope, (vm)(y > (vn){0}));
    case 3: return gradient * (1.f - y * y);
    case 4: return gradient * (y * (1.f - y));
    default: return gradient;
  }
}
/* n vectors of every row at a time, from `at` on; v vectors are a row. */
INLINE void forward_part(
    const layer *l, const float *w, const vn *in, vn *out, int32_t v, int32_t at, const int32_t n) {
  const float *weight = w + l->weight;
  for (int32_t c = 0; c < l->chunks; c++)
    for (int32_t r = 0; r < l->num_rows; r++) {
      const int32_t o = l->rows[r], *first = l->first + c * l->outputs + o;
      vn sum[8], *y = out + (int64_t)o * v + at;
      for (int32_t j = 0; j < n; j++) sum[j] = c ? y[j] : spreadf(l->bias < 0 ? 0.f : w[l->bias + o]);
      for (int32_t k = first[0]; k < first[1]; k++) {
        const vn *x = in + (int64_t)l->input[k] * v + at;
        for (int32_t j = 0; j < n; j++) sum[j] += weight[k] * x[j];
      }
      if (c < l->chunks - 1)
        for (int32_t j = 0; j < n; j++) y[j] = sum[j];
      else
        for (int32_t j = 0; j < n; j++) y[j] = activate_(sum[j], l);
    }
}
INLINE void weights_part(
    const layer *l, float *g, const vn *in, const vn *out, int32_t v, int32_t at, const int32_t n) {
  float *gradient = g + l->weight;
  for (int32_t c = 0; c < l->chunks; c++)
    for (int32_t r = 0; r < l->num_rows; r++) {
      const int32_t o = l->rows[r], *first = l->first + c * l->outputs + o;
      const vn *y = out + (int64_t)o * v + at;
      vn d[8];
      for (int32_t j = 0; j < n; j++) d[j] = y[j];
      if (!c && l->bias >= 0) {
        vn all = d[0];
        for (int32_t j = 1; j < n; j++) all += d[j];
        g[l->bias + o] += sum_(all);
      }
      for (int32_t k = first[0]; k < first[1]; k++) {
        const vn *x = in + (int64_t)l->input[k] * v + at;
        vn even = d[0] * x[0], odd = {0};
        for (int32_t j = 1; j < n; j++) {
          if (j & 1) odd += d[j] * x[j];
          else even += d[j] * x[j];
        }
        gradient[k] += sum_(even + odd);
      }
    }
}
/* `before` gave `in`; what it gave is overwritten by its gradient. */
INLINE void inputs_part(
    const layer *l, const layer *before, const float *w, vn *in, const vn *out, int32_t v, int32_t at,
    const int32_t n) {
  const float *weight = w + l->weight;
  for (int32_t r = 0; r < before->num_rows; r++) {
    const int32_t i = before->rows[r];
    vn sum[8];
    for (int32_t j = 0; j < n; j++) sum[j] = (vn){0};
    for (int32_t k = l->column[i]; k < l->column[i + 1]; k++) {
      const vn *d = out + (int64_t)l->output[k] * v + at;
      for (int32_t j = 0; j < n; j++) sum[j] += weight[l->place[k]] * d[j];
    }
    vn *y = in + (int64_t)i * v + at;
    for (int32_t j = 0; j < n; j++) y[j] = slope_(sum[j], y[j], before);
  }
}
#define PARTS(part, ...)                                       \\
  for (int32_t at = 0; at < v;) {                              \\
    const int32_t left = v - at;                               \\
    if (left >= 8) { part(__VA_ARGS__, v, at, 8); at += 8; }   \\
    else if (left >= 4) { part(__VA_ARGS__, v, at, 4); at += 4; } \\
    else if (left >= 2) { part(__VA_ARGS__, v, at, 2); at += 2; } \\
    else { part(__VA_ARGS__, v, at, 1); at += 1; }             \\
  }
static void forward(const layer *l, const float *w, const vn *in, vn *out, int32_t v) {
  PARTS(forward_part, l, w, in, out)
}
static void weights(const layer *l, float *g, const vn *in, const vn *out, int32_t v) {
  PARTS(weights_part, l, g, in, out)
}
static void inputs(const layer *l, const float *w, vn *in, const vn *out, int32_t v) {
  PARTS(inputs_part, l, l - 1, w, in, out)
}
"""

LOSS = """
/* The logarithm of 1 or more: x = m * 2^e with m in [0.7, 1.41), log m by atanh's series; NaN stays. */
INLINE vn log_(vn x) {
  vm bits = (vm)x, e = (bits - 0x3f3504f3) >> 23;
  const vn m = (vn)(bits - (e << 23)), s = (m - 1.f) / (m + 1.f), q = s * s;
  const vn r = 2.f * s * (1.f + q * (1.f / 3 + q * (1.f / 5 + q * (1.f / 7 + q * (1.f / 9)))));
  return __builtin_convertvector(e, vn) * .69314718f + r + (x - x);
}
/* Mean cross entropy of a batch; the outputs are overwritten by its gradient. */
static float cross_entropy(vn *y, const int64_t *labels, int32_t classes, int32_t batch, int32_t v, float smoothing) {
  const float share = smoothing / (float)classes, rest = 1.f - smoothing;
  double total = 0;
  for (int32_t at = 0; at < v; at++, y++) {
    int32_t wanted[LANES];
    const int32_t count = batch - at * LANES < LANES ? batch - at * LANES : LANES;
    for (int32_t i = 0; i < LANES; i++) wanted[i] = i < count ? (int32_t)labels[at * LANES + i] : -1;
    vm label;
    memcpy(&label, wanted, sizeof label);
    vn most = y[0], sum = {0}, hit = {0}, all = {0};
    for (int32_t c = 1; c < classes; c++) most = largerf(y[c * v], most);
    for (int32_t c = 0; c < classes; c++) {
      const vn x = y[c * v] - most;
      hit += keep(x, (vm)(label == c));
      all += x;
      sum += y[c * v] = honest_(exp_(x), x);
    }
    const vn loss = log_(sum) - rest * hit - share * all, scale = 1.f / (sum * (float)batch);
    for (int32_t i = 0; i < count; i++) total += loss[i];
    for (int32_t c = 0; c < classes; c++) {
      const vn aim = spreadf(share / (float)batch) + keep(spreadf(rest / (float)batch), (vm)(label == c));
      y[c * v] = keep(y[c * v] * scale - aim, (vm)(label >= 0));
    }
  }
  return (float)(total / batch);
}
"""

OPTIMIZERS = """
static double power(double x, double n) {
  double r = 1;
  for (int64_t left = (int64_t)n; left; left >>= 1, x *= x)
    if (left & 1) r *= x;
  return r;
}
static void sgd(member *m, const float *restrict gradients, const rule *r, float lr) {
  float *restrict w = m->weights, *restrict first = m->first;
  const int32_t count = m->ends[m->num_tensors - 1], nesterov = r->nesterov;
  const float decay = (float)r->weight_decay, momentum = (float)r->momentum;
  if (!first)
    for (int32_t i = 0; i < count; i++) w[i] -= lr * (gradients[i] + decay * w[i]);
  else
    for (int32_t i = 0; i < count; i++) {
      const float g = gradients[i] + decay * w[i], b = momentum * first[i] + g;
      first[i] = b;
      w[i] -= lr * (nesterov ? g + momentum * b : b);
    }
}
static void adam(member *m, const float *restrict gradients, const rule *r, double lr) {
  float *restrict w = m->weights, *restrict first = m->first, *restrict second = m->second;
  const int decoupled = r->kind == 2;
  const float decay = decoupled ? 0.f : (float)r->weight_decay;
  const float shrink = decoupled ? (float)(1 - lr * r->weight_decay) : 1.f, eps = (float)r->eps;
  const float new1 = (float)(1 - r->beta1), beta2 = (float)r->beta2, new2 = (float)(1 - r->beta2);
  for (int32_t t = 0, i = 0; t < m->num_tensors; t++) {
    m->counts[t] += 1;
    const float size = (float)(lr / (1 - power(r->beta1, m->counts[t])));
    const float root = (float)__builtin_sqrt(1 - power(r->beta2, m->counts[t]));
    const int32_t end = m->ends[t];
    for (; i < end; i++) {
      const float g = gradients[i] + decay * w[i];
      const float a = first[i] + (g - first[i]) * new1, b = second[i] * beta2 + g * g * new2;
      first[i] = a;
      second[i] = b;
      w[i] = w[i] * shrink - size * (a / (__builtin_sqrtf(b) / root + eps));
    }
  }
}
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
/* One update; the loss before it. Nothing is updated where the loss or a gradient is not finite. */
static float update(member *m, const rule *r, const task *t, const vn *images, vn *space, int32_t i) {
  const int32_t v = (t->size + LANES - 1) / LANES, last = m->num_layers - 1, count = m->ends[m->num_tensors - 1];
  vn *out[last + 1];
  for (int32_t n = 0; n <= last; n++) {
    out[n] = n ? out[n - 1] + (int64_t)m->layers[n - 1].outputs * v : space;
    forward(m->layers + n, m->weights, n ? out[n - 1] : images, out[n], v);
  }
  const float loss =
      cross_entropy(out[last], t->labels[i], m->layers[last].outputs, t->size, v, (float)r->smoothing);
  memset(t->gradients, 0, (size_t)count * sizeof(float));
  for (int32_t n = last; n >= 0; n--) {
    weights(m->layers + n, t->gradients, n ? out[n - 1] : images, out[n], v);
    if (n) inputs(m->layers + n, m->weights, out[n - 1], out[n], v);
  }
  if (!all_finite(&loss, 1) || !all_finite(t->gradients, count)) return loss;
  if (r->kind) adam(m, t->gradients, r, t->lrs[i]);
  else sgd(m, t->gradients, r, (float)t->lrs[i]);
  return loss;
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
    if (t->images[i] != before) turn(turned, t->images[i], t->size, t->features, v);
    before = t->images[i];
    t->losses[i] = update(members + i, r, t, turned, rows, i);
  }
  return -1;
}
"""
