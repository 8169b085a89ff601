"""Rounding what is not shared to what 16 bits hold: biases, and the scales and statistics of norms."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from prunelle.data.task import Task
from prunelle.measure.params import prunable
from prunelle.quantize.sharing import round_to_half_
from prunelle.runs import Run


@dataclass(frozen=True)
class RoundToHalf:
    """Round every float parameter and buffer to the nearest number that float16 holds; their type stays. No training.

    A packed file then spends 2 bytes on each instead of 4. weights: also the prunable ones.
    """

    weights: bool = False
    name: str = "half"

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        model = copy.deepcopy(model).to(run.device)
        kept = set() if self.weights else {id(weight) for weight in prunable(model).values()}
        chosen = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point() and id(t) not in kept]
        round_to_half_(chosen)
        return model
