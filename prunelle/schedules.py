"""Functions of progress in [0, 1]; each returns a number in [0, 1]. Progress outside is clamped.

linear and cubic rise from 0 to 1 and tell how much of the final sparsity is reached; cosine, stairs and exponential
start at 1, fall, and multiply a learning rate; constant serves as either.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def clamp(progress: float) -> float:
    return min(1.0, max(0.0, progress))


def constant(progress: float) -> float:
    """1 from the first step on: the whole amount at once.

    >>> constant(0.0)
    1.0
    """
    return 1.0


def linear(progress: float) -> float:
    """Progress itself.

    >>> linear(0.25)
    0.25
    """
    return clamp(progress)


def cubic(progress: float) -> float:
    """Fast at first, slow at the end.

    Source: Zhu & Gupta 2017, arXiv:1710.01878 eq. 1 with initial sparsity 0 and final sparsity 1.

    >>> cubic(0.5)
    0.875
    """
    return 1.0 - (1.0 - clamp(progress)) ** 3


def cosine(progress: float) -> float:
    """Half a cosine from 1 down to 0.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983 eq. 5 without restarts.

    >>> round(cosine(0.5), 12)
    0.5
    """
    return 0.5 * (1.0 + math.cos(math.pi * clamp(progress)))


def exponential(progress: float, last: float = 0.01) -> float:
    """Falls by the same factor in every epoch, to `last`: most of it early, so that a training which ends before its
    last epoch ends with a small learning rate all the same.

    >>> round(exponential(0.5), 12)
    0.1
    """
    return last ** clamp(progress)


def stairs(progress: float, edges: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> float:
    """1, multiplied by `factor` at each edge passed.

    Source: He 2015, arXiv:1512.03385 section 4.2, divides by 10 at 32k and 48k of 64k steps: edges (.5, .75).

    >>> round(stairs(0.6), 12)
    0.1
    """
    return factor ** sum(clamp(progress) >= edge for edge in edges)
