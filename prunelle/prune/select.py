"""Scores and a sparsity become what is kept. Weights and channels share this file: a score is one number an item."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunelle.errors import SettingError, ShapeError

Scores = dict[str, Tensor]
Kept = dict[str, Tensor]
Scope = Callable[..., Kept]
"""(scores by name, sparsity, and by name `costs` where it asks for them) -> boolean tensors of the same shapes, True =
kept. Costs: see prune/weight_shares.py."""


def over_all(scores: Scores, sparsity: float, min_kept: int = 1) -> Kept:
    """One threshold for all layers together (global scope).

    scores: any shapes, higher = keep. sparsity: share to drop, in [0, 1). min_kept: how many of its best items a
    layer keeps whatever the others score, so that no layer vanishes.
    Exactly round(sparsity * items) items are dropped, as far as min_kept allows; of equal scores those that come
    first in name and index order go first. Raises SettingError, ShapeError.

    >>> over_all({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 4.0])}, 0.5)["a"]
    tensor([ True, False])
    """
    check(scores, sparsity)
    flat = torch.cat([protect(s.reshape(-1), min_kept) for s in scores.values()])
    kept = keep_largest(flat, round(sparsity * flat.numel()))
    parts = kept.split([s.numel() for s in scores.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(scores.items(), parts, strict=True)}


def per_layer(scores: Scores, sparsity: float, min_kept: int = 1) -> Kept:
    """The same sparsity in every layer; otherwise as `over_all`.

    >>> per_layer({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 4.0])}, 0.5)["b"]
    tensor([False,  True])
    """
    check(scores, sparsity)
    return {name: over_all({name: s}, sparsity, min_kept)[name] for name, s in scores.items()}


def check(scores: Scores, sparsity: float) -> None:
    """Raises SettingError for a sparsity outside [0, 1) or a score that is NaN, ShapeError without scores."""
    if not 0 <= sparsity < 1:
        raise SettingError(f"select: sparsity is {sparsity}, must lie in [0, 1); to keep all, pass 0.")
    if not scores:
        raise ShapeError("select: there is nothing to choose from; the model has no prunable weight.")
    for name, s in scores.items():
        if s.isnan().any():
            raise SettingError(f"select: {name} has scores that are NaN, which have no order; look at its weights.")


def protect(scores: Tensor, min_kept: int) -> Tensor:
    """Scores (n,) in which the min_kept best can't be dropped."""
    best = scores.topk(min(min_kept, scores.numel())).indices
    return scores.index_fill(0, best, float("inf"))


def keep_largest(scores: Tensor, num_dropped: int) -> Tensor:
    """(n,) scores -> (n,) bool with at most `num_dropped` False, fewer where the rest is protected (infinite)."""
    num_dropped = min(num_dropped, int((scores != float("inf")).sum()))
    if num_dropped == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(num_dropped).values
    dropped = scores < threshold
    ties = (scores == threshold).nonzero().view(-1)
    dropped[ties[: num_dropped - int(dropped.sum())]] = True
    return ~dropped
