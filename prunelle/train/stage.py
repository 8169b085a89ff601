"""Training as a step of a chain."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from prunelle.data.task import Task
from prunelle.runs import Run
from prunelle.train.identity import identity
from prunelle.train.loop import fit_
from prunelle.train.settings import TrainSettings


@dataclass(frozen=True)
class Train:
    """Train all weights."""

    settings: TrainSettings
    name: str = "train"

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        model = copy.deepcopy(model)
        fit_(model, task, self.settings, run, self.name, begun=begun)
        return model
