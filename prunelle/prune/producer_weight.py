"""The weight as its operator gets it: a parameter, or what the forward makes of several."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx

from prunelle.errors import SettingError
from prunelle.graph.folds import MOVES, short
from prunelle.graph.sets import Tied, place_of
from prunelle.graph.walk import Producer


@torch.no_grad()
def weight_of(tied: Tied, producer: Producer, tensors: Mapping[str, Tensor], gradients_for: str = "") -> Tensor:
    """tensors: by name of parameter or buffer. gradients_for: a score's name where they are gradients, which follow
    their parameters only where these are merely arranged anew; raises SettingError elsewhere."""
    known: dict[fx.Node, object] = {}

    def refuse(why: str) -> SettingError:
        return SettingError(
            f"score {gradients_for}: the weight of {place_of(tied, producer)} {why}, so it has no gradient of its own; "
            "name the layer in skip, or take another score."
        )

    def value(node: object) -> object:
        if isinstance(node, (list, tuple)):
            return [value(each) for each in node]
        if not isinstance(node, fx.Node):
            return node
        if node not in known:
            if node.name in tied.graph.tensors:
                name = tied.graph.tensors[node.name]
                if name not in tensors:
                    raise refuse(f"is made of {name}, no parameter")
                known[node] = tensors[name].detach()
            elif node.name in tied.graph.constants:
                known[node] = tied.graph.constants[node.name]
            else:
                if gradients_for and short(node) not in MOVES:
                    raise refuse(f"is computed by {short(node)}")
                kwargs = {key: value(each) for key, each in node.kwargs.items()}
                known[node] = node.target(*[value(each) for each in node.args], **kwargs)  # type: ignore[operator]
        return known[node]

    found = value(producer.weight)
    assert isinstance(found, Tensor)
    return found
