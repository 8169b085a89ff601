"""What a model costs after a cut that was not made yet, counted from the labels of its graph."""

from __future__ import annotations

from math import prod

from prunelle.graph.sets import Tied
from prunelle.graph.ties import Removed


def macs(tied: Tied, removed: Removed) -> int:
    """Multiply-adds of convolutions, products and recurrent layers for the example inputs. removed: (labels,)."""
    stays = ~removed[tied.components.root]
    return round(sum(count * prod(stays[labels].mean() for labels in axes) for count, axes in tied.state.costs))


def params(tied: Tied, removed: Removed) -> int:
    """Parameters that the graph reads. removed: (labels,)."""
    stays = ~removed[tied.components.root]
    narrower = {g.tensor: stays[g.labels].mean() for g in tied.state.grouped}
    total = 0.0
    for name in tied.graph.parameters & tied.state.tensors.keys():
        value = tied.state.tensors[name]
        total += prod(float(stays[axis.labels].sum()) for axis in value.axes) * narrower.get(name, 1.0)
    return round(total)
