"""The C of sparse training: convolutions, one output channel at a time, with the maximum taken over what they give.

A pixel is a row as a feature is, pixels of a line side by side. So a kept weight multiplies lines at once.
"""

from __future__ import annotations

CONVOLUTIONS = """
enum { PART = 2 };
typedef int8_t vb __attribute__((vector_size(LANES)));
/* n vectors of a line of one channel; x and y stand at the line. */
INLINE void line_part(
    const layer *l, const float *w, int32_t o, const vn *x, vn *y, int32_t unit, int32_t length, int32_t at,
    const int32_t n) {
  vn sum[8];
  for (int32_t j = 0; j < n; j++) sum[j] = spreadf(l->bias < 0 ? 0.f : w[l->bias + o]);
  for (int32_t k = l->first[o]; k < l->first[o + 1]; k++) {
    const vn *from = x + (int64_t)l->input[k] * unit + at;
    for (int32_t j = 0; j < n; j++) sum[j] += w[l->weight + k] * from[j];
  }
  for (int32_t j = 0; j < n; j++) y[at + j] = sum[j];
  (void)length;
}
/* Of a line's part: the sums for the gradient of each weight, lane by lane, and that of the input at `to`. */
INLINE void line_weights_part(
    const layer *l, vn *sums, int32_t o, const vn *x, const vn *y, int32_t unit, int32_t length, int32_t at,
    const int32_t n) {
  vn d[8];
  for (int32_t j = 0; j < n; j++) d[j] = y[at + j];
  for (int32_t k = l->first[o]; k < l->first[o + 1]; k++, sums++) {
    const vn *from = x + (int64_t)l->input[k] * unit + at;
    vn even = *sums, odd = {0};
    for (int32_t j = 0; j < n; j++) {
      if (j & 1) odd += d[j] * from[j];
      else even += d[j] * from[j];
    }
    *sums = even + odd;
  }
  (void)length;
}
INLINE void line_inputs_part(
    const layer *l, const float *w, int32_t o, vn *to, const vn *y, int32_t unit, int32_t length, int32_t at,
    const int32_t n) {
  vn d[8];
  for (int32_t j = 0; j < n; j++) d[j] = y[at + j];
  for (int32_t k = l->first[o]; k < l->first[o + 1]; k++) {
    vn *into = to + (int64_t)l->input[k] * unit + at;
    const vn by = spreadf(w[l->weight + k]);
    for (int32_t j = 0; j < n; j++) into[j] += by * d[j];
  }
  (void)length;
}
static void line(const layer *l, const float *w, int32_t o, const vn *x, vn *y, int32_t unit, int32_t v) {
  PARTS(line_part, l, w, o, x, y, unit)
}
static void line_weights(const layer *l, vn *sums, int32_t o, const vn *x, const vn *y, int32_t unit, int32_t v) {
  PARTS(line_weights_part, l, sums, o, x, y, unit)
}
static void line_inputs(const layer *l, const float *w, int32_t o, vn *to, const vn *y, int32_t unit, int32_t v) {
  PARTS(line_inputs_part, l, w, o, to, y, unit)
}
/* The largest of rows x columns pixels and which of them that is, the first of equal ones; NaN is larger than all, as
   in PyTorch. */
INLINE void largest_(const layer *l, const vn *from, vn *to, vb *which, int32_t v, int32_t rows, int32_t columns) {
  for (int32_t j = 0; j < v; j++) {
    vn best = from[j];
    vm place = {0};
    for (int32_t a = 0; a < rows; a++)
      for (int32_t b = 0; b < columns; b++) {
        const vn now = from[((int64_t)a * l->wide + b) * v + j];
        const vm take = (vm)(now > best) | (vm)(now != now), here = (vm){0} + (a * l->pool + b);
        best = either(now, best, take);
        place = (here & take) | (place & ~take);
      }
    to[j] = activate_(best, l);
    which[j] = __builtin_convertvector(place, vb);
  }
}
/* The opposite: the gradient goes to where the largest was. */
INLINE void back_(const layer *l, const vn *from, vn *to, const vb *which, int32_t v, int32_t rows, int32_t columns) {
  for (int32_t j = 0; j < v; j++) {
    const vm place = __builtin_convertvector(which[j], vm);
    for (int32_t a = 0; a < rows; a++)
      for (int32_t b = 0; b < columns; b++)
        to[((int64_t)a * l->wide + b) * v + j] = keep(from[j], (vm)(place == a * l->pool + b));
  }
}
#define WINDOWS(part, pooled, whole)                                                            \
  for (int32_t y = 0; y < l->pooled_high; y++)                                                  \
    for (int32_t x = 0; x < l->pooled_wide; x++) {                                              \
      const int32_t top = y * l->pool, left = x * l->pool;                                      \
      const int32_t rows = l->high - top < l->pool ? l->high - top : l->pool;                   \
      const int32_t columns = l->wide - left < l->pool ? l->wide - left : l->pool;              \
      const int64_t at = ((int64_t)y * l->pooled_wide + x) * v, to = ((int64_t)top * l->wide + left) * v; \
      if (rows == 2 && columns == 2) part(l, pooled, whole, which + at, v, 2, 2);               \
      else part(l, pooled, whole, which + at, v, rows, columns);                                \
    }
static void pool_channel(const layer *l, const vn *whole, vn *pooled, vb *which, int32_t v) {
  WINDOWS(largest_, whole + to, pooled + at)
}
/* Lines and columns behind the last window get 0. */
static void spread_channel(const layer *l, const vn *pooled, vn *whole, const vb *which, int32_t v) {
  if (l->pooled_high * l->pool < l->high || l->pooled_wide * l->pool < l->wide)
    memset(whole, 0, (size_t)l->high * l->wide * v * sizeof(vn));
  WINDOWS(back_, pooled + at, whole + to)
}
/* whole: room for one channel before the maximum is taken. */
static void conv_forward(const layer *l, const float *w, const vn *in, vn *out, vb *which, vn *whole, int32_t v) {
  const int64_t places = (int64_t)l->pooled_high * l->pooled_wide * v;
  for (int32_t r = 0; r < l->num_rows; r++) {
    const int32_t o = l->rows[r];
    vn *to = l->pool > 1 ? whole : out + o * places;
    for (int32_t y = 0; y < l->high; y++)
      line(l, w, o, in + (int64_t)y * l->width * v, to + (int64_t)y * l->wide * v, v, l->wide * v);
    if (l->pool > 1) pool_channel(l, whole, out + o * places, which + o * places, v);
    else
      for (int64_t i = 0; i < places; i++) to[i] = activate_(to[i], l);
  }
}
/* sums: room for a vector a weight of one output. into: as `in`, its gradient; none wanted where 0. */
static void conv_backward(const layer *l, const float *w, float *g, const vn *in, const vn *out, const vb *which,
                          vn *whole, vn *sums, vn *into, int32_t v) {
  const int64_t places = (int64_t)l->pooled_high * l->pooled_wide * v;
  for (int32_t r = 0; r < l->num_rows; r++) {
    const int32_t o = l->rows[r], first = l->first[o], count = l->first[o + 1] - first;
    const vn *d = out + o * places;
    if (l->bias >= 0) {
      vn all = {0};
      for (int64_t i = 0; i < places; i++) all += d[i];
      g[l->bias + o] += sum_(all);
    }
    if (l->pool > 1) {
      spread_channel(l, d, whole, which + o * places, v);
      d = whole;
    }
    memset(sums, 0, (size_t)count * sizeof(vn));
    for (int32_t y = 0; y < l->high; y++) {
      const vn *from = d + (int64_t)y * l->wide * v;
      line_weights(l, sums, o, in + (int64_t)y * l->width * v, from, v, l->wide * v);
      if (into) line_inputs(l, w, o, into + (int64_t)y * l->width * v, from, v, l->wide * v);
    }
    for (int32_t k = 0; k < count; k++) g[l->weight + first + k] += sum_(sums[k]);
  }
}
/* The gradients of a convolution's weights and of its input, which is overwritten by it where that is wanted. */
static void conv_gradients(const layer *l, const float *w, float *g, vn *in, const vn *out, const vb *which, vn *free,
                           int wanted, int32_t v) {
  vn *whole = free, *sums = whole + (int64_t)l->high * l->wide * v, *into = sums + l->most;
  if (wanted) memset(into, 0, (size_t)l[-1].places * v * sizeof(vn));
  conv_backward(l, w, g, in, out, which, whole, sums, wanted ? into : 0, v);
  for (int32_t i = 0; i < l->num_reads; i++) {
    const int64_t at = (int64_t)l->reads[i] * v;
    for (int32_t j = 0; j < v; j++) in[at + j] = slope_(into[at + j], in[at + j], l - 1);
  }
}
"""
