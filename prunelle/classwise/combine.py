"""From the members' outputs to one answer: a calibration by which they can be compared, and where answers go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunelle.models.members import Calibration, Groups, combined, places

STEPS = 100
LOWEST, HIGHEST = 0.05, 20.0
MOST_BIAS = 20.0


def calibrated(outputs: Sequence[Tensor], targets: Tensor, groups: Groups) -> Calibration:
    """The temperatures and biases that make the joint answer's cross entropy least.

    outputs: on the split that choices are made on. targets: (N,) classes. Deterministic. Where the best is no better
    than no change, no change is made.
    Source: temperature scaling, and the biases of vector scaling, Guo 2017, arXiv:1706.04599 section 4.2; there for one
    network, here for all members at once, so that what one says of its classes can be held against what another says of
    its own. Without biases a member that is too sure of itself takes images from its fellows at any temperature.
    """
    given, order, num = [output.double() for output in outputs], places(groups), len(outputs)
    free = torch.zeros(2, num, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return cross_entropy(combined(given, bounded(free), order), targets)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    before = float(loss().detach())
    optimizer.step(closure)
    with torch.no_grad():
        better = bool(torch.isfinite(free).all()) and float(loss()) < before
        found = bounded(free)
        return Calibration(found.temperatures.float(), found.biases.float()) if better else Calibration.none(num)


def bounded(free: Tensor) -> Calibration:
    """free: (2, members), logarithms of temperatures, which stay between LOWEST and HIGHEST, and biases, which stay
    within MOST_BIAS."""
    return Calibration(free[0].exp().clamp(LOWEST, HIGHEST), free[1].clamp(-MOST_BIAS, MOST_BIAS))


@dataclass(frozen=True)
class Mistakes:
    """confusion: (classes, classes) counts, row = true class, column = answer. within: wrong answers in the right
    group; across: in another one."""

    confusion: NDArray[np.int64]
    within: int
    across: int


def mistakes(answers: Tensor, targets: Tensor, groups: Groups) -> Mistakes:
    """answers, targets: (N,) classes.

    >>> found = mistakes(torch.tensor([1, 2, 2]), torch.tensor([0, 0, 2]), ((0, 1), (2,)))
    >>> found.within, found.across, found.confusion.tolist()
    (1, 1, [[0, 1, 1], [0, 0, 0], [0, 0, 1]])
    """
    num = sum(map(len, groups))
    counts = torch.bincount(targets * num + answers, minlength=num * num).view(num, num)
    which = torch.empty(num, dtype=torch.long)
    for number, group in enumerate(groups):
        which[list(group)] = number
    wrong = answers != targets
    same = which[answers] == which[targets]
    return Mistakes(counts.numpy(), int((wrong & same).sum()), int((wrong & ~same).sum()))
