"""Values that change when channels go: the factor that keeps attention's scale, constants that a bias takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunelle.graph.cuts import put_in_
from prunelle.graph.ties import Components, Labels
from prunelle.graph.trace import Graph, shape_of
from prunelle.graph.value import At
from prunelle.graph.walk import Walk

MOVES = {
    "alias", "clone", "contiguous", "detach", "dropout", "to", "type_as", "reshape", "view", "_unsafe_view", "flatten",
    "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "t", "unbind", "select", "slice", "chunk", "split",
    "split_with_sizes", "expand", "movedim", "swapaxes", "getitem", "cat", "numpy_T",
}  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """Entries that a factor is folded into. entries: tensor name -> (n,) flat indices. dims: (n,) labels of the axis
    whose size set the scale. power: 1 when the forward divides by its square root, -1 when it multiplies."""

    entries: dict[str, np.ndarray]
    dims: Labels
    power: int = 1


@dataclass(frozen=True)
class Shift:
    """A bias that takes over what removed inputs gave. labels, at: (n,) of the weight's input axis."""

    weight: str
    bias: str
    labels: Labels
    at: At


def short(node: fx.Node) -> str:
    """An operator's name without its overload."""
    name = getattr(node.target, "__name__", str(node.target))
    return str(node.target).removeprefix("aten.").split(".")[0] if "aten." in str(node.target) else name


def scales(state: Walk) -> list[Scale]:
    """One for each attention that takes its scale from the size of a head; where the queries' weights cannot be told
    apart, the size is pinned instead."""
    found = []
    for node, source, dims, power in state.scaled_by_size:
        alone = node.args[:3].count(source) < 2  # otherwise keys or values would be scaled along
        entries = scalable(state.graph, source) if alone else None
        if entries is None:
            state.node = node
            state.pin(dims, "takes its scale from this size, and no weight of the queries' own can take that back")
        else:
            found.append(Scale(entries, dims, power))
    return found


def scalable(graph: Graph, node: fx.Node) -> dict[str, np.ndarray] | None:
    """Entries of the tensors which this node's value is proportional to, by name; None when there are none such."""
    chain: list[fx.Node] = []
    while short(node) in MOVES - {"cat"} or is_scaling(node):
        chain.append(node)
        if shares(node):
            return None
        node = node.args[0]  # type: ignore[assignment]
        if not isinstance(node, fx.Node):
            return None
    if shares(node):
        return None
    kind = short(node)
    if kind in ("linear", "conv1d", "conv2d", "conv3d"):
        parts = [
            node.args[i] if len(node.args) > i else node.kwargs.get(key) for i, key in ((1, "weight"), (2, "bias"))
        ]
    elif kind == "batch_norm":
        parts = [node.args[1], node.args[2]]
        if parts[0] is None:
            return None
    else:
        return None
    channel = node.meta["val"].ndim - 1 if kind == "linear" else 1
    rows = picked(node, channel, chain)
    found: dict[str, np.ndarray] = {}
    for part in parts:
        if part is None:
            continue
        entries = of_parameters(graph, part, rows) if isinstance(part, fx.Node) else None  # type: ignore[arg-type]
        if entries is None:
            return None
        found |= entries
    return found


def shares(node: fx.Node) -> bool:
    """Whether more than the queries' path reads this: a factor would go there too. Parts of one whole are told
    apart by their entries."""
    apart = short(node) in ("unbind", "chunk", "split", "split_with_sizes")
    readers = [user for user in node.users if short(user) not in ("select", "slice", "getitem")]
    return len(node.users) > 1 and not apart and bool(readers)


def is_scaling(node: fx.Node) -> bool:
    """A product with a plain number."""
    return short(node) in ("mul", "div") and not isinstance(node.args[1], fx.Node)


def picked(node: fx.Node, channel: int, chain: list[fx.Node]) -> np.ndarray:
    """Which of a node's channels the end of a chain of moves reads."""
    shape = shape_of(node.meta["val"])
    lead = torch.arange(shape[channel]).view([-1 if i == channel else 1 for i in range(len(shape))])
    value: Any = lead.expand(shape)
    for step in reversed(chain):
        value = value if is_scaling(step) or short(step) in ("to", "type_as") else move(step, value)
    return np.unique(value.numpy())


def move(node: fx.Node, value: Any) -> Any:
    """A move of entries, made on another tensor of the same shape."""
    if short(node) in ("view", "_unsafe_view"):  # the original may have been transposed, this one need not be
        return value.reshape(node.args[1])
    return node.target(value, *node.args[1:], **node.kwargs)  # type: ignore[operator,misc]


def of_parameters(graph: Graph, node: fx.Node, rows: np.ndarray) -> dict[str, np.ndarray] | None:
    """Entries of parameters that land in these rows of what a node holds; None when it holds anything else, or when
    a parameter is used elsewhere too."""
    offsets: dict[str, int] = {}
    shapes: dict[str, int] = {}
    total = 0

    def value(each: Any) -> Any:
        nonlocal total
        if isinstance(each, (list, tuple)):
            return [value(one) for one in each]
        if not isinstance(each, fx.Node):
            return each
        if each.name in graph.tensors:
            name = graph.tensors[each.name]
            if len(each.users) != 1:
                raise LookupError
            if name not in offsets:
                size = each.meta["val"].numel()
                offsets[name], shapes[name] = total, size
                total += size
            shape = shape_of(each.meta["val"])
            return torch.arange(offsets[name], offsets[name] + shapes[name]).view(shape)
        if short(each) not in MOVES:
            raise LookupError
        args = [value(arg) for arg in each.args]
        return args[0] if short(each) in ("to", "type_as") else each.target(*args, **each.kwargs)  # type: ignore

    try:
        held = value(node)
    except LookupError:
        return None
    lands = np.zeros(total, dtype=bool)
    lands[held[torch.from_numpy(rows)].numpy()] = True
    hit = np.flatnonzero(lands)
    return {name: hit[(hit >= start) & (hit < start + shapes[name])] - start for name, start in offsets.items()}


def shifts(state: Walk) -> list[Shift]:
    """Biases that constants of removed channels are folded into."""
    return [Shift(c.weight.tensor, c.bias.tensor, c.labels, c.at) for c in state.consumers if c.bias is not None]


@torch.no_grad()
def fold_(
    model: nn.Module, components: Components, removed: np.ndarray, to_scale: list[Scale], to_shift: list[Shift]
) -> None:
    """Change a dense model's values so that it can lose what is removed. removed: (labels,) by unit.

    Its tensors are replaced by changed copies, never written to: a shell shares them with the original.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    changed: dict[int, Tensor] = {}

    def writable(name: str) -> Tensor:
        return changed.setdefault(id(tensors[name]), tensors[name].detach().clone().contiguous())

    for scale in to_scale:
        gone = removed[components.root[scale.dims]]
        if gone.any():
            factor = float(((~gone).sum() / len(gone)) ** (0.5 * scale.power))
            for name, entries in scale.entries.items():
                writable(name).view(-1)[torch.from_numpy(entries)] *= factor
    for shift in to_shift:
        gone = removed[components.root[shift.labels]] & (shift.labels != 0)
        at = torch.from_numpy(np.where(gone, np.nan_to_num(shift.at), 0.0))
        if at.any():
            weight = changed.get(id(tensors[shift.weight]), tensors[shift.weight]).detach()
            summed = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
            writable(shift.bias).add_(summed @ at.to(summed))
    put_in_(model, changed)
