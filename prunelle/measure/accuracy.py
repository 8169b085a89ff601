"""What a model gets right on a split: once through it, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunelle.data.task import Loss, Metric, Split
from prunelle.errors import DataError

EVAL_BATCH = 500
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Evaluation:
    """top1: mean of the task's metric. loss: mean loss. scores: (N,) metric an example. predictions: (N,) int64
    largest output (empty where outputs are not (N, classes)). targets: as the split gives them."""

    top1: float
    loss: float
    scores: Tensor
    predictions: Tensor
    targets: Tensor

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of top1: Wilson's (1927, without continuity correction) where each score is 0 or 1, else
        mean +- 1.96 standard errors."""
        if bool(((self.scores == 0) | (self.scores == 1)).all()):
            return wilson(self.top1, len(self.scores))
        half = Z95 * float(self.scores.double().std(correction=0)) / math.sqrt(len(self.scores))
        return self.top1 - half, self.top1 + half


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, loss: Loss, metric: Metric) -> Evaluation:
    """Run `model` in eval mode over the whole split, unaugmented, in stored order.

    The model's train/eval flags are left as they were. Raises DataError for an empty split.
    """
    if len(split) == 0:
        raise DataError("evaluate: the split holds no examples; give one that does.")
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        scores, losses, predictions, targets = [], 0.0, [], []
        for inputs, wanted in split.epoch(EVAL_BATCH):
            outputs = model(inputs)
            scores.append(metric(outputs, wanted).cpu())
            losses += float(loss(outputs, wanted)) * len(wanted)
            targets.append(wanted.cpu())
            if outputs.ndim == 2:
                predictions.append(outputs.argmax(1).cpu())
    finally:
        for module, flag in flags.items():
            module.training = flag
    found = torch.cat(scores)
    empty = torch.empty(0, dtype=torch.int64)
    return Evaluation(
        top1=float(found.double().mean()),
        loss=losses / len(found),
        scores=found,
        predictions=torch.cat(predictions) if predictions else empty,
        targets=torch.cat(targets),
    )


def wilson(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """The interval that a share of `count` yes-or-no answers leaves open.

    >>> [round(x, 4) for x in wilson(0.5, 100)]
    [0.4038, 0.5962]
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Rounding may leave the share itself just outside at 0 and 1.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def flips(before: Evaluation, after: Evaluation, class_names: tuple[str, ...]) -> list[dict]:
    """A row a class: how many of its examples changed between right and wrong.

    Returns dicts with class, num, top1_before, top1_after, lost (right before only), gained (right after only).
    """
    rows = []
    for index, name in enumerate(class_names):
        own = before.targets == index
        right_before, right_after = before.scores[own] > 0.5, after.scores[own] > 0.5
        num = int(own.sum())
        rows.append(
            {
                "class": name,
                "num": num,
                "top1_before": float(right_before.float().mean()) if num else None,
                "top1_after": float(right_after.float().mean()) if num else None,
                "lost": int((right_before & ~right_after).sum()),
                "gained": int((~right_before & right_after).sum()),
            }
        )
    return rows
