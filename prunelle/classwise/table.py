"""The table of irregular members: what of each layer is left in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from prunelle.measure.card import Card, LayerCount, count

Row = dict[str, Any]


def layer_rows(
    members: Sequence[nn.Module], names: Sequence[Sequence[str]], whole: nn.Module, input_shape: tuple[int, ...]
) -> list[Row]:
    """A row a member and layer: {member, classes, layer, channels, channels_dense, params, params_dense, macs,
    macs_dense}, layers in the order they run. names: of each member's classes."""
    before = by_layer(count("whole", whole, input_shape))
    rows = []
    for number, (member, classes) in enumerate(zip(members, names, strict=True)):
        for layer, now in by_layer(count("member", member, input_shape)).items():
            dense = before.get(layer)
            rows.append(
                {
                    "member": number,
                    "classes": " ".join(classes),
                    "layer": layer,
                    "channels": width(member, layer),
                    "channels_dense": width(whole, layer),
                    "params": now.params,
                    "params_dense": dense.params if dense else None,
                    "macs": now.macs,
                    "macs_dense": dense.macs if dense else None,
                }
            )
    return rows


def by_layer(card: Card) -> dict[str, LayerCount]:
    return {layer.layer: layer for layer in card.layers}


def width(model: nn.Module, layer: str) -> int | None:
    """Output channels of a layer, None where it has no weight of its own."""
    try:
        weight = getattr(model.get_submodule(layer), "weight", None)
    except AttributeError:
        return None
    return None if weight is None else int(weight.shape[0])
