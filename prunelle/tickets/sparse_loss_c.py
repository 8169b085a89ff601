"""The C of sparse training: cross entropy and its gradient, a vector of images at a time."""

from __future__ import annotations

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
