"""Scores of rows become scores of units: all that a unit consists of has a say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunelle.graph.sets import Tied
from prunelle.graph.walk import Producer
from prunelle.prune.channel_select import UnitScores

RowScore = Callable[..., Tensor]


@torch.no_grad()
def unit_scores(model: nn.Module, tied: Tied, score: RowScore, seed: int = 0) -> UnitScores:
    """(labels,) the mean score of each unit's rows, after each weight's scores were divided by their mean.

    score: (weight (n, ...)) -> (n,), higher = keep.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    total = np.zeros(len(tied.components.root))
    count = np.zeros(len(total))
    for one in tied.sets:
        for producer in one.producers:
            weight = weight_of(tied, producer, tensors).movedim(producer.axis, 0)
            rows = score(weight).double().cpu().numpy()
            mean = rows.mean()
            units = tied.components.root[producer.labels]
            np.add.at(total, units, rows / mean if mean > 0 else rows)
            np.add.at(count, units, 1)
    return total / np.maximum(count, 1)


def weight_of(tied: Tied, producer: Producer, tensors: dict[str, Tensor]) -> Tensor:
    """The weight as its operator gets it: a parameter, or what the forward makes of several."""
    known: dict[fx.Node, object] = {}

    def value(node: object) -> object:
        if isinstance(node, (list, tuple)):
            return [value(each) for each in node]
        if not isinstance(node, fx.Node):
            return node
        if node not in known:
            if node.name in tied.graph.tensors:
                known[node] = tensors[tied.graph.tensors[node.name]].detach()
            elif node.name in tied.graph.constants:
                known[node] = tied.graph.constants[node.name]
            else:
                kwargs = {key: value(each) for key, each in node.kwargs.items()}
                known[node] = node.target(*[value(each) for each in node.args], **kwargs)  # type: ignore[operator]
        return known[node]

    found = value(producer.weight)
    assert isinstance(found, Tensor)
    return found
