"""The C of a linear layer as dense rows, one an input: inputs that are zero are skipped, whole vectors are added."""

from __future__ import annotations

import numpy as np

from prunelle.ship.c.writer import Writer

BLOCK = 256
"""Inputs that are worked on at once."""

MOST_SUMS = 8
"""Vectors summed at once."""


def as_rows(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray]:
    """How many inputs have a weight; for every input the number of its row, or -1, filled up to whole vectors; the
    rows, filled up too."""
    live = np.any(weight != 0, axis=0)
    rows = np.zeros((int(live.sum()), padded))
    rows[:, : len(weight)] = weight[:, live].T
    numbers = np.pad(np.where(live, np.cumsum(live) - 1, -1), (0, -weight.shape[1] % 16), constant_values=-1)
    return [len(rows)], numbers.tolist(), rows.reshape(-1)


def as_rows16(weight: np.ndarray, padded: int) -> tuple[list[int], list[int], np.ndarray, np.ndarray]:
    """Rows as int16 in units of the output's largest sum of absolute weights over BLOCK inputs, after which the C
    goes on in floats, so that no sum can overflow; those units."""
    counts, places, rows = as_rows(weight, padded)
    blocks = [weight[:, at : at + BLOCK] for at in range(0, weight.shape[1], BLOCK)]
    sums = [np.abs(block).sum(axis=1) for block in blocks] or [np.zeros(len(weight))]
    units = np.max(sums, axis=0) * (1 + 2 * min(counts[0], BLOCK) / 32767)
    units = np.pad(units, (0, padded - len(weight)))
    scaled = rows.reshape(-1, padded) / np.where(units > 0, units, 1) * 32767
    return counts, places, np.rint(scaled).astype(np.int16).reshape(-1), units


def write_rows(writer: Writer, vectors: int, form: str) -> str:
    """The function of a table for rows of so many vectors, form rows or rows16; gives its name."""
    kind, values = ("vf", "value") if form == "rows" else ("vn", "factor")
    writer.function("live_inputs", LIVE.replace("@B@", str(writer.vector_bytes)))
    calls, at = [], 0
    for width in split_evenly(vectors, MOST_SUMS):
        writer.function(f"add_{form}_{width}", row_sums(form, kind, width))
        calls.append(
            f"add_{form}_{width}({'y' if form == 'rows' else 'sum'} + {at}, w + {at}, {vectors}, row, {values}, n);"
        )
        at += width
    body = ROWS if form == "rows" else ROWS16
    text = body.replace("@V@", str(vectors)).replace("@CALLS@", "\n    ".join(calls))
    return writer.function(f"linear_{form}_{vectors}", text)


def split_evenly(total: int, most: int) -> list[int]:
    """As few parts as may be, none above `most`, of nearly one size.

    >>> split_evenly(19, 8)
    [7, 6, 6]
    """
    parts = -(-total // most)
    return [total // parts + (part < total % parts) for part in range(parts)]


def row_sums(form: str, kind: str, width: int) -> str:
    """A function that sums `n` rows, each times its value, over `width` vectors: onto y in floats, into y in int16.
    Few vectors are summed in several shares, because one addition waits for the one before."""
    plain = form == "rows"
    ways = max(1, 4 // width) if plain else 1
    names = [[f"{'abcd'[way]}{i}" for i in range(width)] for way in range(ways)]
    starts = [
        f"{name} = y[{i}]" if plain and not way else f"{name} = {{0}}"
        for way, row in enumerate(names)
        for i, name in enumerate(row)
    ]
    lines = [
        f"static inline UNUSED void add_{form}_{width}({kind} *y, const {kind} *w, int32_t stride, const int32_t *row,",
        f"                                           const {'float' if plain else 'weight_t'} *value, int32_t n) {{",
        f"  {kind} {', '.join(starts)};",
        "  int32_t k = 0;",
    ]
    for share in dict.fromkeys((ways, 1)):
        lines.append(f"  for (; k + {share} <= n; k += {share}) {{")
        for way in range(share):
            number = f"k + {way}" if way else "k"
            value = (
                f"const float s{way} = value[{number}]"
                if plain
                else f"const vn s{way} = spread_weight(value[{number}])"
            )
            lines.append(f"    const {kind} *r{way} = w + (long)row[{number}] * stride; {value};")
            terms = [f"s{way} * r{way}[{i}]" if plain else f"times(s{way}, r{way}[{i}])" for i in range(width)]
            lines.append("    " + " ".join(f"{name} += {term};" for name, term in zip(names[way], terms, strict=True)))
        lines.append("  }")
    for i in range(width):
        lines.append(f"  y[{i}] = {' + '.join(row[i] for row in names)};")
    return "\n".join([*lines, "}", ""])


LIVE = """\
/* Of the inputs from *first up to `last`, those that a weight reads and that differ from the base: whose row it is and
   how far off. At most 256; *first is then the next one to look at. */
static inline UNUSED int32_t live_inputs(const vector_table *t, const float *x, int32_t *first, int32_t last,
                                         int32_t *row, float *value) {
  int32_t n = 0, i = *first;
#if @B@ == 64 && defined(__AVX512F__)
  const __m512 base = _mm512_set1_ps(t->base);
  for (; i < last && n <= 240; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    const __m512i r = _mm512_loadu_si512(t->place + i);
    const __mmask16 read = _mm512_cmpge_epi32_mask(r, _mm512_setzero_si512());
    const __mmask16 live = _mm512_mask_cmp_ps_mask(read, v, base, _CMP_NEQ_UQ);
    _mm512_storeu_ps(value + n, _mm512_maskz_compress_ps(live, _mm512_sub_ps(v, base)));
    _mm512_storeu_si512(row + n, _mm512_maskz_compress_epi32(live, r));
    n += __builtin_popcount(live);
  }
#else
  for (; i < last && n < 256; i++) {
    row[n] = t->place[i];
    value[n] = x[i] - t->base;
    n += (x[i] != t->base) & (t->place[i] >= 0);
  }
#endif
  *first = i;
  return n;
}
"""

ROWS = """\
static void linear_rows_@V@(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in);
  const vf *w = (const vf *)t->weight;
  vf *y = (vf *)(ws + t->out);
  int32_t row[272];
  float value[272];
  memcpy(y, t->bias, @V@ * sizeof(vf));
  for (int32_t first = 0; first < t->inputs;) {
    const int32_t n = live_inputs(t, x, &first, t->inputs, row, value);
    @CALLS@
  }
}
"""

ROWS16 = """\
static void linear_rows16_@V@(vn *ws, const vector_table *t) {
  const float *x = (const float *)(ws + t->in);
  const vn *w = (const vn *)t->weight;
  float *y = (float *)(ws + t->out);
  int32_t row[272];
  float value[272];
  weight_t factor[272];
  vn sum[@V@];
  memcpy(y, t->bias, @V@ * LANES * sizeof(float));
  for (int32_t first = 0; first < t->inputs;) {
    const int32_t last = t->inputs - first < 256 ? t->inputs : first + 256;
    const int32_t n = live_inputs(t, x, &first, last, row, value);
    float most = 0;
    for (int32_t k = 0; k < n; k++) {
      const float size = value[k] < 0 ? -value[k] : value[k];
      most = size > most ? size : most;
    }
    if (!(most > 0)) continue;
    const float scale = 32767.f / most, back = most / 32767.f;
    for (int32_t k = 0; k < n; k++) factor[k] = 0x10001 * (uint16_t)to_number(value[k], scale);
    @CALLS@
    const number *from = (const number *)sum;
    for (int32_t i = 0; i < @V@ * LANES; i++) y[i] += (float)from[i] * (t->factor[5][i] * back);
  }
}
"""
