"""Weights that hold NaN or infinity, found before anything is made of them."""

from __future__ import annotations

from itertools import chain

from torch import nn

from prunelle.errors import WeightsError
from prunelle.graph.trace import Graph


def refuse_not_finite(what: str, model: nn.Module, graph: Graph) -> None:
    """Raises WeightsError for the first parameter or buffer that the trace reads and that is not all finite.

    model: the one traced; what nothing reads may hold anything.
    """
    read = {graph.tensors.get(node.name) for node in graph.nodes if node.op == "placeholder" and node.users}
    named = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    for name, value in named:
        if name in read and (bad := int((~value.isfinite()).sum())):
            raise WeightsError(
                f"{what}: {bad:,} of the {value.numel():,} numbers of {name} are NaN or infinite, all must be finite; "
                "train the network again, or load other weights."
            )
