"""Predicting a bit from four contexts at once, and learning from it.

Each context keeps how often its bits were 1. The four probabilities are mixed in the logistic domain with weights that
follow the error, as in PAQ (Mahoney 2005, cs.fit.edu/~mmahoney/compression/cs200516.pdf). All arithmetic is on
integers; the two tables are rounded so coarsely that every machine computes the same ones, and the file's own hash of
the decoded weights would tell if one did not.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from prunelle.models.packed.coder import Flow

ONE = 1 << 22
"""Probability 1 in a context."""
SURE = 3072
"""12 nats in steps of 1/256: a mixed probability stays within [SMALLEST, 65536 - SMALLEST]."""
SMALLEST = 16
MOST_SEEN = 255
START_WEIGHT = 22938
"""0.35 of 65536: four equal voices, together a little surer than each."""
Weights = list[int]


@cache
def stretched() -> list[int]:
    """256 * ln(p / (1 - p)) for p = (i + 0.5) / 65536, within +-SURE."""
    p = (np.arange(65536) + 0.5) / 65536
    return np.rint(256 * np.log(p / (1 - p))).clip(-SURE, SURE).astype(int).tolist()


@cache
def squashed() -> list[int]:
    """The inverse: 65536 / (1 + exp(-i / 256)) for i = -SURE ... SURE, at i + SURE."""
    p = 65536 / (1 + np.exp(-np.arange(-SURE, SURE + 1) / 256))
    return np.rint(p).clip(SMALLEST, 65536 - SMALLEST).astype(int).tolist()


@cache
def rates() -> list[int]:
    """65536 / (n + 1.6): how far the n-th bit moves a context (0.6: a little faith in where it started)."""
    return [655360 // (10 * n + 16) for n in range(MOST_SEEN + 1)]


class Mixing:
    """Contexts numbered from 0 and what they have seen. Final.

    start: 65536 times the probability of a 1 in a context that has seen nothing.
    """

    def __init__(self, num_contexts: int, start: int = 32768) -> None:
        self.ones = [start << 6] * num_contexts
        self.seen = [0] * num_contexts
        self.stretch, self.squash, self.rate = stretched(), squashed(), rates()

    def bit(self, flow: Flow, contexts: tuple[int, int, int, int], weights: Weights, wanted: int = 0) -> int:
        """Write or read one bit, and learn it. weights: START_WEIGHT four times at first; changed in place."""
        ones, stretch, seen, rate = self.ones, self.stretch, self.seen, self.rate
        a, b, c, d = contexts
        va, vb, vc, vd = stretch[ones[a] >> 6], stretch[ones[b] >> 6], stretch[ones[c] >> 6], stretch[ones[d] >> 6]
        wa, wb, wc, wd = weights
        mixed = (wa * va + wb * vb + wc * vc + wd * vd) >> 16
        likely = self.squash[SURE + (-SURE if mixed < -SURE else SURE if mixed > SURE else mixed)]
        found = flow.bit(likely, wanted)
        error = (found << 16) - likely
        weights[:] = (
            wa + (va * error >> 15),
            wb + (vb * error >> 15),
            wc + (vc * error >> 15),
            wd + (vd * error >> 15),
        )
        target = ONE - 1 if found else 0
        for context in contexts:
            count = seen[context]
            ones[context] += (target - ones[context]) * rate[count] >> 16
            if count < MOST_SEEN:
                seen[context] = count + 1
        return found


def fresh_weights(num: int) -> list[Weights]:
    return [[START_WEIGHT] * 4 for _ in range(num)]
