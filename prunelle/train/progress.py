"""Where a training stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from prunelle.train.precision import Scale


@dataclass
class Progress:
    """All of it is in the checkpoint. best_val, best_epoch: of the weights to be given: the best on val, or the last
    where early stopping does not restore the best. gain_val, gain_epoch: the last validation that improved by enough to
    go on. seconds: wall time by what it went to."""

    step: int = 0
    closed_epochs: int = 0
    first_loss: float | None = None
    loss_sum: float = 0.0
    best_val: float = -math.inf
    best_epoch: int = 0
    scale: Scale = field(default_factory=Scale)
    stopped_epoch: int | None = None
    diverged_step: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    gain_val: float = -math.inf
    gain_epoch: int = 0
