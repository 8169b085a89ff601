"""The first lines of the C file: vector types, loads, moves between lanes, activations."""

from __future__ import annotations

from prunelle.ship.c.writer import FP32, Numbers


def prelude(numbers: Numbers, vector_bytes: int) -> str:
    """vf: a vector of floats; vn: of the network's numbers; vi, vm: integers of the same widths."""
    lanes, shorts = vector_bytes // numbers.bytes, vector_bytes // 2
    integer = "int32_t" if numbers is FP32 else "int16_t"
    parts = [
        HEAD,
        f"typedef float vf __attribute__((vector_size({vector_bytes})));",
        f"typedef int32_t vi __attribute__((vector_size({vector_bytes})));",
        f"typedef {numbers.c} vn __attribute__((vector_size({vector_bytes})));",
        f"typedef {integer} vm __attribute__((vector_size({vector_bytes})));",
        f"typedef {numbers.c} number;",
        f"#define ALIGNED __attribute__((aligned({vector_bytes})))",
        f"enum {{ LANES = {lanes}, FLOATS = {vector_bytes // 4}, BYTES = {vector_bytes} }};",
        COMMON,
        FLOATS.replace("@B@", str(vector_bytes)),
    ]
    if numbers is FP32:
        parts.append(COMPARE)
    else:
        parts.append(SHORTS.replace("@N@", str(shorts)).replace("@B@", str(vector_bytes)))
    return "\n".join(parts)


HEAD = """\
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#if !defined(__clang__) && __GNUC__ < 12
#define MOVE(a, b, ...) __builtin_shuffle(a, b, (vm){__VA_ARGS__})
#else
#define MOVE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#define UNUSED __attribute__((unused))
"""

COMMON = """
static inline UNUSED vn load(const void *from) { vn r; memcpy(&r, from, sizeof r); return r; }
static inline UNUSED vf loadf(const void *from) { vf r; memcpy(&r, from, sizeof r); return r; }
static inline UNUSED vn keep(vn x, vm mask) { return (vn)((vm)x & mask); }
static inline UNUSED vn either(vn x, vn y, vm mask) { return (vn)(((vm)x & mask) | ((vm)y & ~mask)); }
"""

FLOATS = """
static inline UNUSED vf eitherf(vf x, vf y, vi mask) { return (vf)(((vi)x & mask) | ((vi)y & ~mask)); }
static inline UNUSED vf spreadf(float x) { return (vf){0} + x; }
static inline UNUSED vf clampf_(vf x, float low, float high) {
  vf a = spreadf(low), b = spreadf(high);
  x = eitherf(x, a, (vi)(x > a));
  return eitherf(x, b, (vi)(x < b));
}
#if @B@ == 64 && defined(__AVX512F__)
static inline UNUSED vf largerf(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline UNUSED vf smallerf(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif @B@ == 32 && defined(__AVX2__)
static inline UNUSED vf largerf(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline UNUSED vf smallerf(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#else
static inline UNUSED vf largerf(vf a, vf b) { return eitherf(a, b, (vi)(a > b)); }
static inline UNUSED vf smallerf(vf a, vf b) { return eitherf(a, b, (vi)(a < b)); }
#endif
static inline UNUSED vf relu_(vf x) { return largerf(x, (vf){0}); }
static inline UNUSED vf leaky_(vf x, float slope) { return eitherf(x, x * slope, (vi)(x > (vf){0})); }
static inline UNUSED vf hardsigmoid_(vf x) { return clampf_(x * (1.f / 6) + .5f, 0, 1); }
static inline UNUSED vf hardswish_(vf x) { return x * hardsigmoid_(x); }
/* e^x: 2^n * e^f with |f| <= ln 2 / 2, and e^f by its series to the sixth power: off by 2e-7 of itself. */
static inline UNUSED vf exp_(vf x) {
  x = clampf_(x, -87.f, 88.f);
  vf n = (x * 1.44269504f + 12582912.f) - 12582912.f;
  vf f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  vf r = f * (1.f / 720) + (1.f / 120);
  r = r * f + (1.f / 24);
  r = r * f + (1.f / 6);
  r = r * f + .5f;
  r = r * f * f + f + 1.f;
  return r * (vf)((__builtin_convertvector(n, vi) + 127) << 23);
}
static inline UNUSED vf sigmoid_(vf x) { return 1.f / (1.f + exp_(-x)); }
static inline UNUSED vf silu_(vf x) { return x / (1.f + exp_(-x)); }
static inline UNUSED vf tanh_(vf x) { return 2.f / (1.f + exp_(-2.f * x)) - 1.f; }
/* Abramowitz and Stegun 7.1.26: off by 1.5e-7. */
static inline UNUSED vf erf_(vf x) {
  vi negative = (vi)(x < (vf){0});
  vf a = eitherf(-x, x, negative), t = 1.f / (1.f + .3275911f * a);
  vf p = t * (.254829592f + t * (-.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  vf r = 1.f - p * exp_(-a * a);
  return eitherf(-r, r, negative);
}
static inline UNUSED vf gelu_(vf x) { return .5f * x * (1.f + erf_(x * .70710678f)); }
static inline UNUSED vf gelu_tanh_(vf x) { return .5f * x * (1.f + tanh_(.79788456f * (x + .044715f * x * x * x))); }
"""

COMPARE = """
static inline UNUSED vn larger(vn a, vn b) { return largerf(a, b); }
static inline UNUSED vn smaller(vn a, vn b) { return smallerf(a, b); }
"""

SHORTS = """
typedef int32_t vwide __attribute__((vector_size(2 * @B@)));
static inline UNUSED vn spread(int x) { return (vn){0} + (int16_t)x; }
/* (a * b + 2^14) >> 15, and a + b held at the ends of int16: one instruction each where the machine has it. */
#if @B@ == 64 && defined(__AVX512BW__)
static inline UNUSED vn times(vn a, vn b) { return (vn)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b); }
static inline UNUSED vn plus(vn a, vn b) { return (vn)_mm512_adds_epi16((__m512i)a, (__m512i)b); }
static inline UNUSED vn larger(vn a, vn b) { return (vn)_mm512_max_epi16((__m512i)a, (__m512i)b); }
static inline UNUSED vn smaller(vn a, vn b) { return (vn)_mm512_min_epi16((__m512i)a, (__m512i)b); }
#elif @B@ == 32 && defined(__AVX2__)
static inline UNUSED vn times(vn a, vn b) { return (vn)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b); }
static inline UNUSED vn plus(vn a, vn b) { return (vn)_mm256_adds_epi16((__m256i)a, (__m256i)b); }
static inline UNUSED vn larger(vn a, vn b) { return (vn)_mm256_max_epi16((__m256i)a, (__m256i)b); }
static inline UNUSED vn smaller(vn a, vn b) { return (vn)_mm256_min_epi16((__m256i)a, (__m256i)b); }
#elif @B@ == 16 && defined(__ARM_NEON)
static inline UNUSED vn times(vn a, vn b) { return (vn)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b); }
static inline UNUSED vn plus(vn a, vn b) { return (vn)vqaddq_s16((int16x8_t)a, (int16x8_t)b); }
static inline UNUSED vn larger(vn a, vn b) { return (vn)vmaxq_s16((int16x8_t)a, (int16x8_t)b); }
static inline UNUSED vn smaller(vn a, vn b) { return (vn)vminq_s16((int16x8_t)a, (int16x8_t)b); }
#elif @B@ == 16 && defined(__wasm_simd128__)
static inline UNUSED vn times(vn a, vn b) { return (vn)wasm_i16x8_q15mulr_sat((v128_t)a, (v128_t)b); }
static inline UNUSED vn plus(vn a, vn b) { return (vn)wasm_i16x8_add_sat((v128_t)a, (v128_t)b); }
static inline UNUSED vn larger(vn a, vn b) { return (vn)wasm_i16x8_max((v128_t)a, (v128_t)b); }
static inline UNUSED vn smaller(vn a, vn b) { return (vn)wasm_i16x8_min((v128_t)a, (v128_t)b); }
#else
static inline UNUSED vn times(vn a, vn b) {
  vwide r = (__builtin_convertvector(a, vwide) * __builtin_convertvector(b, vwide) + (1 << 14)) >> 15;
  return __builtin_convertvector(r, vn);
}
static inline UNUSED vn plus(vn a, vn b) {
  vwide r = __builtin_convertvector(a, vwide) + __builtin_convertvector(b, vwide);
  vwide high = (vwide)(r > 32767), low = (vwide)(r < -32768);
  r = (r & ~high & ~low) | (high & 32767) | (low & -32768);
  return __builtin_convertvector(r, vn);
}
static inline UNUSED vn larger(vn a, vn b) { return either(a, b, (vm)(a > b)); }
static inline UNUSED vn smaller(vn a, vn b) { return either(a, b, (vm)(a < b)); }
#endif
"""
