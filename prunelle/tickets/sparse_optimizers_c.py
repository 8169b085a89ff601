"""The C of sparse training: the steps of `train.optimizers`, on the kept weights side by side."""

from __future__ import annotations

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
