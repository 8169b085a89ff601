"""Scores of rows become scores of units: all that a unit consists of has a say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import ModelError, ShapeError
from prunelle.graph.sets import Tied, place_of
from prunelle.prune.channel_evidence import KNOWN, Evidence
from prunelle.prune.channel_select import UnitScores
from prunelle.prune.statistics import needed
from prunelle.seeds import generator as seeded

RowScore = Callable[..., Tensor]
"""(weight (n, ...), and by name any of channel_evidence.KNOWN) -> (n,) scores, higher = keep."""


class Scorer:
    """One score of one model, to be asked again whenever the sets have changed. Final.

    task: where training images come from, for the scores that look at them. Raises SettingError for a score that asks
    for something unknown.
    """

    def __init__(self, model: nn.Module, score: RowScore, seed: int = 0, task: Task | None = None) -> None:
        self.score, self.seed = score, seed
        self.title = getattr(score, "__name__", repr(score))
        self.needs = needed(score, self.title, KNOWN)
        self.evidence = Evidence(model, task, seed, self.title)

    @torch.no_grad()
    def __call__(self, tied: Tied) -> UnitScores:
        """(labels,) the mean score of each unit's rows, after each weight's scores were divided by their mean; NaN has
        no say. Raises ModelError for a unit of which nothing is known, ShapeError."""
        total = np.zeros(len(tied.components.root))
        count = np.zeros(len(total))
        generator = seeded(self.seed, "score")
        for one in tied.sets:
            for producer in one.producers:
                weight = self.evidence.weight(tied, producer)
                with torch.enable_grad():
                    given = {need: self.evidence.given(need, tied, producer, generator) for need in self.needs}
                rows = self.score(weight, **given)
                if rows.shape != weight.shape[:1]:
                    raise ShapeError(
                        f"score {self.title}: gave {tuple(rows.shape)} for {place_of(tied, producer)}, must be one "
                        f"number for each of its {len(weight)} rows."
                    )
                relative = rows.double().cpu().numpy()
                mean = np.nanmean(relative) if not np.isnan(relative).all() else 0.0
                known = ~np.isnan(relative)
                units = tied.components.root[producer.labels]
                np.add.at(total, units[known], (relative / mean if mean > 0 else relative)[known])
                np.add.at(count, units[known], 1)
            if not count[one.units].all():
                raise ModelError(
                    f"score {self.title}: says nothing of {int((count[one.units] == 0).sum())} channels of {one.name}; "
                    "name it in skip, or take another score."
                )
        return total / np.maximum(count, 1)


def unit_scores(model: nn.Module, tied: Tied, score: RowScore, seed: int = 0, task: Task | None = None) -> UnitScores:
    """(labels,) the mean score of each unit's rows, after each weight's scores were divided by their mean."""
    return Scorer(model, score, seed, task)(tied)
