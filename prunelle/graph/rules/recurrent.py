"""LSTM, GRU and plain recurrent layers: a unit goes from every gate at once."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from torch import fx

from prunelle.graph.ties import Labels
from prunelle.graph.value import Axis, Value, fixed, fixed_value, value_of
from prunelle.graph.walk import Producer, Result, Walk, shape_of

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def recurrent(
    state: Walk,
    x: Value,
    hidden: Any,
    weights: list[Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> Result:
    """(batch and time, C) -> (batch and time, units). Masking sets a unit's rows in every gate to 0: its state then
    stays 0. All layers must keep equally many units, because the module has one number for them."""
    name = str(state.node.target).split(".")[1]
    gates, directions = GATES[name], 2 if bidirectional else 1
    each = (4 if has_biases else 2) + (1 if projected(weights, has_biases, num_layers * directions) else 0)
    for value in hidden if isinstance(hidden, list) else [hidden]:
        state.pin_all(value, "starts from a state of a fixed size")
    rest = [fixed_value(shape_of(meta), [x]) for meta in state.node.meta["val"]]
    if each in (3, 5):
        for value in (x, *weights):
            state.pin_all(value, "a recurrent layer with a projection")
        return list(rest)
    source = x.axes[-1]
    units: list[Labels] = []
    position = 0
    for _ in range(num_layers):
        outputs = []
        for _ in range(directions):
            group = weights[position : position + each]
            state.join(source, group[0].axes[1], "reads channels")
            state.pin(source.labels[~(source.at == 0)], "a removed channel would come in as something that is not 0")
            steps = prod(x.shape[:-1]) * len(group[0].axes[0])
            state.cost(steps * len(source), source, group[0].axes[0])
            outputs.append(cell(state, group, gates, position))
            position += each
            units.append(outputs[-1].labels)
            state.cost(steps * len(units[-1]), units[-1], group[0].axes[0])
        source = Axis(np.concatenate([o.labels for o in outputs]), np.concatenate([o.at for o in outputs]))
    state.balance(units, "all layers and directions keep equally many units")
    front = [fixed(len(axis)) for axis in x.axes[:-1]]
    if state.node_uses_state():
        for labels in units:
            state.pin(labels, "its last state is used")
    return [value_of([*front, source], [x]), *rest[1:]]


def projected(weights: list[Value], has_biases: bool, cells: int) -> bool:
    """Whether an LSTM has a third weight a cell."""
    return len(weights) // cells not in (2, 4)


def cell(state: Walk, group: list[Value], gates: int, position: int) -> Axis:
    """One layer in one direction: the axis of its units."""
    rows = group[0].axes[0].labels.reshape(gates, -1)
    units = rows[0]
    for gate in range(1, gates):
        state.join(units, rows[gate], "a unit has a row in every gate")
    for tensor in group[1:]:
        for gate, labels in enumerate(tensor.axes[0].labels.reshape(gates, -1)):
            state.join(rows[gate], labels, "a unit has a row in every gate")
    state.join(units, group[1].axes[1], "a unit reads the others")
    nodes = state.node.args[2]
    assert isinstance(nodes, (list, tuple))
    for offset, tensor in enumerate(group):
        state.zero(tensor, 0)
        node = nodes[position + offset]
        if tensor.ndim == 2 and isinstance(node, fx.Node):
            state.producers.append(Producer(state.node, node, 0, tensor.axes[0].labels, gates))
    return Axis(units, np.zeros(len(units)))
