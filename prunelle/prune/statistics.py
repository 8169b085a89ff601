"""What a score may ask for besides the weight, gathered from training data."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError

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

    The score's own parameter names say what it needs. Raises SettingError for a need that is not known, or a
    gradient without model and task.
    """
    needs = set(list(inspect.signature(score).parameters)[1:])
    unknown = sorted(needs - set(KNOWN))
    if unknown:
        raise SettingError(f"score {score.__name__}: asks for {unknown}, only {KNOWN} can be given.")
    gradients: dict[str, Tensor] = {}
    if "gradient" in needs:
        if model is None or task is None:
            raise SettingError(f"score {score.__name__}: needs gradients, so a model and a task must be given.")
        gradients = mean_gradients(model, weights, task)
    found = {}
    for name, weight in weights.items():
        given = {"gradient": gradients.get(name), "generator": generator}
        scores = score(weight.detach(), **{need: given[need] for need in needs})
        found[name] = scores.masked_fill(weight.detach() == 0, float("-inf"))
    return found


def mean_gradients(
    model: nn.Module, weights: dict[str, nn.Parameter], task: Task, num_batches: int = GRADIENT_BATCHES
) -> dict[str, Tensor]:
    """The loss's gradient, averaged over the first training batches of 128, in eval mode. Same shapes as weights."""
    flags = {module: module.training for module in model.modules()}
    model.eval()
    total = [torch.zeros_like(w) for w in weights.values()]
    count = 0
    for inputs, targets in task.train.epoch(128):
        loss = task.loss(model(inputs), targets)
        torch._foreach_add_(total, torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))
        count += 1
        if count == num_batches:
            break
    for module, flag in flags.items():
        module.training = flag
    return {name: t / count for name, t in zip(weights, total, strict=True)}
