"""The C of sparse training: activations, and linear layers forward and backward."""

from __future__ import annotations

ACTIVATIONS = ("none", "relu", "leaky", "tanh", "sigmoid")
"""A layer's `activation` in the C text is the place in this list."""

LINEAR = """
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
  for (int32_t r = 0; r < l->num_reads; r++) {
    const int32_t i = l->reads[r];
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
