"""How much of each layer's weights goes: more where a weight makes more multiply-adds, or as told."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError, ShapeError
from prunelle.measure.macs import count_macs
from prunelle.measure.params import prunable
from prunelle.prune.select import Kept, Scope, Scores, check, over_all


def by_cost(
    scores: Scores, sparsity: float, costs: Mapping[str, float], strength: float = 0.25, min_kept: int = 1
) -> Kept:
    """One threshold for all layers over scores divided by cost ** strength; otherwise as `over_all`.

    costs: by name, the multiply-adds that one weight makes an image; less than 1 counts as 1. strength: 0 is
    `over_all`; of magnitudes 0.5 drops the least sum of squares a multiply-add saved. Raises ShapeError for scores
    without a cost.

    >>> scores = {"conv": torch.tensor([3.0, 8.0]), "linear": torch.tensor([2.0, 2.5])}
    >>> by_cost(scores, 0.5, {"conv": 16, "linear": 1})["conv"]
    tensor([False,  True])
    """
    check(scores, sparsity)
    missing = [name for name in scores if name not in costs]
    if missing:
        raise ShapeError(f"by_cost: {missing[0]} has no cost; give one for every weight that is scored.")
    return over_all({name: over(s, costs[name], strength) for name, s in scores.items()}, sparsity, min_kept)


def by_shares(scores: Scores, sparsity: float, shares: Mapping[str, float]) -> Kept:
    """Every layer loses a share of its own, in the proportions of `shares`, in all `sparsity` of the items.

    shares: by name, 0 and more; those that lead to `sparsity` are what each layer loses. Raises ShapeError for scores
    without a share, SettingError where a layer would lose all.

    >>> scores = {"conv": torch.tensor([3.0, 8.0]), "linear": torch.tensor([2.0, 2.5])}
    >>> by_shares(scores, 0.25, {"conv": 0, "linear": 0.5})["linear"]
    tensor([False,  True])
    """
    check(scores, sparsity)
    missing = [name for name in scores if name not in shares]
    if missing:
        raise ShapeError(f"by_shares: {missing[0]} has no share; give one for every weight that is scored.")
    total = sum(s.numel() for s in scores.values())
    mean = sum(shares[name] * s.numel() for name, s in scores.items()) / max(total, 1)
    found = {name: sparsity * shares[name] / mean if mean else sparsity for name in scores}
    for name, share in found.items():
        if share >= 1:
            raise SettingError(
                f"by_shares: at a sparsity of {sparsity} {name} would lose {share:.4g} of its weights, must be below "
                "1; lower its share or the sparsity."
            )
    return {name: over_all({name: s}, found[name])[name] for name, s in scores.items()}


def over(scores: Tensor, cost: float, strength: float) -> Tensor:
    """scores / cost ** strength, in at least float32: of a half float small quotients would be equal."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    return scores.to(wide) / max(cost, 1.0) ** strength


def scope_for(scope: Scope, model: nn.Module, task: Task) -> Scope:
    """The scope with the model's costs filled in where it asks for them, by a parameter `costs` without a default."""
    asked = inspect.signature(scope).parameters.get("costs")
    if asked is None or asked.default is not inspect.Parameter.empty:
        return scope
    return functools.partial(scope, costs=weight_costs(model, task.input_shape))


def weight_costs(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    """Multiply-adds an image that one entry of each prunable weight makes, by the weight's name.

    input_shape: (C, H, W). Of a convolution that is the number of its output positions, of a linear layer that sees
    one vector 1. A layer that runs twice, and one weight that two layers share, cost the sum; what several weights of
    one module make together is shared out evenly. Raises ModelError when the model does not run on such an image.
    """
    weights = prunable(model)
    first = next(iter(weights.values()), torch.empty(0))
    image = torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)
    macs = {layer.name: layer.macs for layer in count_macs(model, image).layers}
    names = {id(weight): name for name, weight in weights.items()}
    costs = dict.fromkeys(weights, 0.0)
    for path, module in model.named_modules():
        own = {id(p): p for p in module.parameters(recurse=False) if id(p) in names}
        entries = sum(p.numel() for p in own.values())
        for key in own:
            costs[names[key]] += macs.get(path, 0) / max(entries, 1)
    return costs
