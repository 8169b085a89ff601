"""What a score may ask for besides the weight, gathered from training data."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError, ShapeError

Score = Callable[..., Tensor]
"""(weight, and by name any of gradient, generator) -> scores of the weight's shape, higher = keep."""

GRADIENT_BATCHES = 10
KNOWN = ("gradient", "generator")


def score_weights(
    weights: dict[str, nn.Parameter],
    score: Score,
    generator: torch.Generator,
    model: nn.Module | None = None,
    task: Task | None = None,
) -> dict[str, Tensor]:
    """Scores of all weights by name; what is already zero scores -inf, so it never comes back.

    The score's own parameter names say what it needs; any other must have a default. Raises SettingError for a need
    that is not known, or a gradient without model and task; ShapeError for scores of another shape than the weight's.
    """
    title = getattr(score, "__name__", repr(score))
    needs = needed(score, title)
    gradients: dict[str, Tensor] = {}
    if "gradient" in needs:
        if model is None or task is None:
            raise SettingError(f"score {title}: needs gradients, so a model and a task must be given.")
        # Not in stored order: an image folder's first batches are all of one class.
        order = torch.Generator().manual_seed(generator.initial_seed())
        gradients = mean_gradients(model, weights, task, order=order)
    found = {}
    for name, weight in weights.items():
        given = {"gradient": gradients.get(name), "generator": generator}
        scores = score(weight.detach(), **{need: given[need] for need in needs})
        if scores.shape != weight.shape or not scores.is_floating_point():
            raise ShapeError(
                f"score {title}: gave {tuple(scores.shape)} of {scores.dtype} for {name}, "
                f"must be float scores of its shape {tuple(weight.shape)}."
            )
        found[name] = scores.masked_fill(weight.detach() == 0, float("-inf"))
    return found


def needed(score: Score, title: str, known: tuple[str, ...] = KNOWN) -> list[str]:
    """Which of the known ones the score takes. Raises SettingError for another parameter without a default."""
    parameters = list(inspect.signature(score).parameters.values())[1:]
    unknown = sorted(p.name for p in parameters if p.name not in known and p.default is p.empty)
    if unknown:
        raise SettingError(f"score {title}: asks for {unknown}, only {known} can be given.")
    return [p.name for p in parameters if p.name in known]


def mean_gradients(
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    task: Task,
    num_batches: int = GRADIENT_BATCHES,
    order: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The loss's gradient, averaged over a few training batches of 128, in eval mode. Same shapes as weights.

    order: a CPU generator that shuffles; None takes the first examples as they are stored.
    """
    flags = {module: module.training for module in model.modules()}
    total = [torch.zeros_like(w) for w in weights.values()]
    count = 0
    try:
        model.eval()
        for inputs, targets in task.train.epoch(128, order=order):
            loss = task.loss(model(inputs), targets)
            torch._foreach_add_(total, torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))
            count += 1
            if count == num_batches:
                break
    finally:
        for module, flag in flags.items():
            module.training = flag
    return {name: t / count for name, t in zip(weights, total, strict=True)}
