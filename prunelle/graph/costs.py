"""What a model costs after a cut that was not made yet, counted from the labels of its graph."""

from __future__ import annotations

from math import prod

import numpy as np

from prunelle.graph.sets import Tied


def macs(tied: Tied, removed: np.ndarray) -> float:
    """Multiply-adds of convolutions, products and recurrent layers for the example inputs. removed: (labels,)."""
    stays = ~removed[tied.components.root]
    return float(sum(count * prod(stays[labels].mean() for labels in axes) for count, axes in tied.state.costs))


def params(tied: Tied, removed: np.ndarray) -> int:
    """Parameters and buffers of the tensors that the graph reads."""
    stays = ~removed[tied.components.root]
    narrower = {g.tensor: stays[g.labels].mean() for g in tied.state.grouped}
    total = 0.0
    for name, value in tied.state.tensors.items():
        total += prod(float(stays[axis.labels].sum()) for axis in value.axes) * narrower.get(name, 1.0)
    return round(total)
