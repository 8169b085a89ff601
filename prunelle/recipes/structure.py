"""What of a MODEL can shrink: the sets of tied channels, what hangs on them, and what must stay, with the reasons."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunelle.errors import ModelError, WorkError
from prunelle.graph import costs
from prunelle.graph.sets import Set, Tied, analyse, place_of
from prunelle.graph.ties import Labels
from prunelle.graph.trace import trace
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params
from prunelle.models.names import Shape
from prunelle.prune.channel_select import Limits, chosen
from prunelle.prune.channels import plan_channels
from prunelle.recipes.channels import told
from prunelle.recipes.settings import ChannelsStage
from prunelle.recipes.slimming import Asked, example, open_asked

TRIAL = 0.5
NOT_SEEN = "what it computes was not seen in the graph"
NO_WEIGHTS = "has no weights of its own; it follows what it is given"


def structure(
    model: str,
    *,
    weights: str | None = None,
    input_shape: Shape | None = None,
    trust: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """{model, input, params, macs, macs_share, sets, frozen, layers, proved} of a MODEL, as plain values.

    macs_share: of the multiply-adds that would go with all sets. sets: {name, channels, can_go (how many of them),
    layers, params, macs (that would go with all of the set)}. layers: in the order they run, {layer, params, macs,
    channels, free (how many of them), sets, why (channels stay)}. proved: whether half of everything was cut once and
    held against the masked network; else only the graph was read.
    Raises what opening raises, WorkError where the forward cannot be traced.
    """
    asked = Asked(model, ChannelsStage(amount=TRIAL), weights, input_shape, seed)
    opened, shape = open_asked(asked, trust)
    image = example(shape)
    try:
        tied, proved = plan_channels(opened.model, image, TRIAL, seed=seed).tied, True
    except ModelError:
        try:
            tied, proved = analyse(opened.model, trace(opened.model, image)), False
        except ModelError as error:
            raise WorkError(str(error)) from None
    counted = count_macs(opened.model, image)
    names = [name for name, _ in opened.model.named_parameters()]
    return {
        "model": model,
        "input": list(shape),
        "params": count_params(opened.model).params,
        "macs": counted.total,
        "macs_share": hanging(tied),
        "uncounted": sorted(counted.uncounted),
        "sets": [set_row(tied, one, names) for one in tied.sets],
        "frozen": told(tied.frozen),
        "layers": layer_rows(tied, opened.model, {row.name: (row.params, row.macs) for row in counted.layers}),
        "proved": proved,
    }


def hanging(tied: Tied) -> float:
    """The share of the multiply-adds that would go with all sets."""
    nothing = np.zeros(len(tied.components.root), dtype=bool)
    everything = nothing.copy()
    everything[np.concatenate([np.zeros(0, dtype=np.int64), *[one.units for one in tied.sets]])] = True
    return 1 - costs.macs(tied, everything) / max(costs.macs(tied, nothing), 1.0)


def set_row(tied: Tied, one: Set, parameters: list[str]) -> dict[str, Any]:
    """One set, and what would go with all of it. parameters: their names, each shared one once."""
    nothing = np.zeros(len(tied.components.root), dtype=bool)
    everything = nothing.copy()
    everything[one.units] = True
    most = chosen(tied, np.zeros(len(nothing)), [float(other is one) for other in tied.sets], Limits())
    return {
        "name": one.name,
        "channels": len(one.units),
        "can_go": int(most[one.units].sum()),
        "layers": list(dict.fromkeys(place_of(tied, producer) for producer in one.producers)),
        "params": num_touched(tied, everything, parameters),
        "macs": round(costs.macs(tied, nothing) - costs.macs(tied, everything)),
    }


def num_touched(tied: Tied, removed: NDArray[np.bool_], parameters: list[str]) -> int:
    """Numbers in the parameters that go with what is removed; a grouped convolution's inputs too."""
    goes = removed[tied.components.root]
    grouped = {each.tensor: 1 - goes[each.labels].mean() for each in tied.state.grouped}
    total = 0.0
    for name in parameters:
        if name in tied.state.tensors:
            axes = [goes[axis.labels] for axis in tied.state.tensors[name].axes]
            total += prod(len(axis) for axis in axes)
            total -= prod(float((~axis).sum()) for axis in axes) * grouped.get(name, 1.0)
    return round(total)


def layer_rows(tied: Tied, model: nn.Module, counted: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The layers that multiply, and which sets their outputs belong to."""
    where = np.full(len(tied.components.root), -1)
    for number, one in enumerate(tied.sets):
        where[one.units] = number
    made = outputs_of(tied)
    reasons = {one.what: one.why for one in tied.frozen}
    rows = []
    for layer, (params, macs) in counted.items():
        labels = made.get(layer)
        if labels is None and not macs:
            continue
        units = np.zeros(0, dtype=np.int64) if labels is None else tied.components.units(labels)
        numbers = [int(number) for number in dict.fromkeys(where[units].tolist()) if number >= 0]
        free = int((where[units] >= 0).sum())
        why = "" if free == len(units) > 0 else reasons.get(layer) or why_pinned(tied, labels)
        rows.append(
            {"layer": layer or type(model).__name__, "params": params, "macs": macs, "channels": len(units)}
            | {"free": free, "sets": [tied.sets[number].name for number in numbers], "why": why}
        )
    return rows


def outputs_of(tied: Tied) -> dict[str, Labels]:
    """The labels of each layer's output channels."""
    found: dict[str, Labels] = {}
    for producer in tied.state.producers:
        found.setdefault(place_of(tied, producer), producer.labels)
    for tensor, value in tied.state.tensors.items():
        layer, _, leaf = tensor.rpartition(".")
        if leaf == "weight" and value.ndim > 1:
            found.setdefault(layer, value.axes[0].labels)
    return found


def why_pinned(tied: Tied, labels: Labels | None) -> str:
    """The reasons that hold an axis."""
    if labels is None:
        return NO_WEIGHTS
    units = np.unique(tied.components.root[labels]).tolist()
    found = [why for unit in units for why in tied.components.reasons.get(unit, []) if why]
    return "; ".join(list(dict.fromkeys(found))[:3]) or NOT_SEEN
