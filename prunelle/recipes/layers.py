"""Where the time of a native library goes, layer by layer: what zeros bring beside what they could."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from prunelle.recipes.shipping import Subject
from prunelle.seeds import generator
from prunelle.ship.shipped import Layer

CALLS = 200


def layer_rows(what: Subject, folder: Path, staging: Path, target: str) -> list[Layer]:
    """A row a layer of the library in `folder`.

    measured: the time of the same layer without zeros over its time, from a library of the same network whose zeros
    are filled, built and timed beside it. theoretical: multiply-adds over those whose weight is not zero.
    """
    from prunelle.ship.native import build_native, profile_native

    twin = staging / "dense"
    twin.mkdir()
    build_native(filled(what.order.model), what.order.example, twin, target=target)
    image = what.images[0][:1]
    dense = {row[0]: row[2] for row in profile_native(twin, image, CALLS)}
    rows = []
    for layer, kernel, us, dense_macs, macs in profile_native(folder, image, CALLS):
        rows.append(
            Layer(
                layer=layer,
                kernel=kernel,
                us=us,
                dense_us=dense.get(layer),
                dense_macs=dense_macs,
                macs=macs,
                measured=dense[layer] / us if dense.get(layer) and us else None,
                theoretical=dense_macs / macs if macs else None,
            )
        )
    return rows


def filled(model: nn.Module) -> nn.Module:
    """A copy whose zeros among the weights are small random numbers: the same layers without sparsity."""
    model, draws = copy.deepcopy(model), generator(0, "filled")
    with torch.no_grad():
        for weight in (parameter for parameter in model.parameters() if parameter.ndim > 1):
            zeros = weight == 0
            noise = 1e-3 * torch.randn(weight.shape, generator=draws).to(weight.dtype)
            weight.copy_(torch.where(zeros, noise, weight))
    return model
