"""Where the time of a native library goes, layer by layer: what zeros bring beside what they could."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from prunelle.recipes.shipping import Subject
from prunelle.seeds import generator
from prunelle.ship.shipped import Layer

CALLS = 200
Profiled = tuple[str, str, float, int, int]
"""(layer, kernel, microseconds, dense multiply-adds, multiply-adds), as profile_native gives them."""


def layer_rows(what: Subject, folder: Path, staging: Path, target: str) -> list[Layer]:
    """A row a layer of the library in `folder`.

    measured: the time of the same layer without zeros over its time, from a library of the same network whose zeros
    are filled, built and timed beside it. theoretical: multiply-adds over those whose weight is not zero.
    """
    from prunelle.ship.native import build_native
    from prunelle.ship.native_profile import profile_native

    twin = staging / "dense"
    twin.mkdir()
    build_native(filled(what.order.model), what.order.example, twin, target=target)
    image = what.images[0][:1]
    profiles = (profile_native(place, image, CALLS) for place in (twin, folder))
    dense, own = ({key(row): row for row in rows} for rows in map(numbered, profiles))
    return [layer_of(row, dense.get(which)) for which, row in own.items()]


def numbered(rows: list[Profiled]) -> list[tuple[int, Profiled]]:
    """Each row with how many of the same layer and kind stand before it: a layer may be several operations."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for row in rows:
        what = row[0], kind(row)
        found.append((seen[what], row))
        seen[what] += 1
    return found


def key(row: tuple[int, Profiled]) -> tuple[str, str, int]:
    """By which an operation is known in both libraries, whatever kernel it has there."""
    return row[1][0], kind(row[1]), row[0]


def kind(row: Profiled) -> str:
    """The first word of a kernel: conv, linear, pool."""
    return row[1].partition(" ")[0]


def layer_of(row: tuple[int, Profiled], dense: tuple[int, Profiled] | None) -> Layer:
    """One operation beside itself without zeros, where that is there too."""
    layer, kernel, us, dense_macs, macs = row[1]
    dense_us = None if dense is None else dense[1][2]
    return Layer(
        layer=layer,
        kernel=kernel,
        us=us,
        dense_us=dense_us,
        dense_macs=dense_macs,
        macs=macs,
        measured=dense_us / us if dense_us and us else None,
        theoretical=dense_macs / macs if macs else None,
    )


def filled(model: nn.Module) -> nn.Module:
    """A copy whose zeros among the weights are small random numbers: the same layers without sparsity."""
    model, draws = copy.deepcopy(model), generator(0, "filled")
    with torch.no_grad():
        for weight in (parameter for parameter in model.parameters() if parameter.ndim > 1):
            zeros = weight == 0
            noise = 1e-3 * torch.randn(weight.shape, generator=draws).to(weight.dtype)
            weight.copy_(torch.where(zeros, noise, weight))
    return model
