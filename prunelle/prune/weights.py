"""Steps that zero single weights (unstructured pruning): at once, while training, and training on with zeros held."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.measure.params import prunable
from prunelle.prune.by_weight import magnitude
from prunelle.prune.masks import HeldZeros, masks_of, zero_
from prunelle.prune.ramp import Ramp
from prunelle.prune.select import Scope, over_all
from prunelle.prune.statistics import Score, score_weights
from prunelle.prune.weight_shares import scope_for
from prunelle.runs import Run
from prunelle.schedules import Schedule, cubic
from prunelle.steps import Chain
from prunelle.train.identity import identity
from prunelle.train.loop import fit_
from prunelle.train.settings import TrainSettings


@dataclass(frozen=True)
class PruneWeights:
    """One shot: zero the share `sparsity` of the prunable weights with the lowest scores. No training."""

    sparsity: float
    score: Score = magnitude
    scope: Scope = over_all
    name: str = "prune"

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        model = copy.deepcopy(model).to(run.device)
        weights = prunable(model)
        scores = score_weights(weights, self.score, run.generator(self.name, "score"), model, task)
        zero_(weights, scope_for(self.scope, model, task)(scores, self.sparsity))
        return model


@dataclass(frozen=True)
class Retrain:
    """Train on with every zero of a prunable weight held at zero."""

    settings: TrainSettings
    name: str = "retrain"

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        model = copy.deepcopy(model)
        held = HeldZeros(prunable(model))
        try:
            fit_(model, task, self.settings, run, self.name, held, begun)
        finally:
            zero_(held.weights, masks_of(held.weights))
        return model


@dataclass(frozen=True)
class PruneGradually:
    """Train while sparsity rises from what the model has to `sparsity`, zeros held; then on at that sparsity.

    begin, end: shares of the training; end <= 0.9, so that what is left can recover while the learning rate is not
    yet 0. frequency: updates between two choices of masks. Raises SettingError.
    """

    sparsity: float
    settings: TrainSettings
    score: Score = magnitude
    scope: Scope = over_all
    shape: Schedule = cubic
    begin: float = 0.0
    end: float = 0.6
    frequency: int = 20
    name: str = "gradual"

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.end <= 0.9:
            raise SettingError(
                f"{self.name}: pruning lasts from {self.begin} to {self.end} of the training, "
                "must be 0 <= begin <= end <= 0.9 so that training can repair what pruning took."
            )

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        model = copy.deepcopy(model)
        total = self.settings.epochs * task.train.num_batches(self.settings.batch_size, drop_last=True)
        first, last = round(self.begin * total), round(self.end * total)
        weights = prunable(model)
        initial = min(self.sparsity, zero_share(weights))
        ramp = Ramp(self.sparsity, first, last, self.frequency, initial, self.shape)
        rising = RisingZeros(model, weights, task, run, self, ramp)
        try:
            fit_(model, task, self.settings, run, self.name, rising, begun)
        finally:
            zero_(weights, masks_of(weights))
        return model


class RisingZeros:
    """A train.constraint.Constraint that chooses masks anew whenever the ramp is due, and holds them. Final."""

    def __init__(
        self,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        task: Task,
        run: Run,
        step: PruneGradually,
        ramp: Ramp,
    ) -> None:
        self.model, self.weights, self.task, self.run = model, weights, task, run
        self.step, self.ramp = step, ramp
        self.scope = scope_for(step.scope, model, task)
        self.held = HeldZeros(weights)

    def start_(self, step: int, state: dict[str, Tensor]) -> None:
        self.held.start_(step, state)
        if not state:
            self.choose_(0)

    def after_update_(self, step: int) -> None:
        self.held.after_update_(step)
        self.choose_(step)

    def choose_(self, step: int) -> None:
        if self.ramp.due(step):
            generator = self.run.generator(self.step.name, "score", step)
            scores = score_weights(self.weights, self.step.score, generator, self.model, self.task)
            kept = self.scope(scores, self.ramp.at(step))
            # A layer that had more zeros than its share before the ramp began keeps them.
            zeros = masks_of(self.weights)
            self.held.hold_({name: mask & zeros[name] for name, mask in kept.items()})

    def state(self) -> dict[str, Tensor]:
        return self.held.state()

    def settled(self, step: int) -> bool:
        """Weights of before the ramp's end have not the sparsity that was asked for."""
        return step >= self.ramp.end


def zero_share(weights: dict[str, nn.Parameter]) -> float:
    """Share of zeros among the weights."""
    total = sum(w.numel() for w in weights.values())
    return sum(int((w == 0).sum()) for w in weights.values()) / max(total, 1)


def prune_and_retrain(
    sparsities: tuple[float, ...], settings: TrainSettings, score: Score = magnitude, scope: Scope = over_all
) -> Chain:
    """Han 2015's loop (arXiv:1506.02626 section 3): prune, retrain what is left, and again at the next sparsity.

    sparsities: of all prunable weights, one a round, rising.
    """
    steps: list[PruneWeights | Retrain] = []
    for number, sparsity in enumerate(sparsities):
        steps += [PruneWeights(sparsity, score, scope, f"prune{number}"), Retrain(settings, f"retrain{number}")]
    return Chain(tuple(steps), "prune_and_retrain")
