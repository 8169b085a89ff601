"""What rules for operators share: values as channels or vectors, and the list of operations that grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunelle.errors import ModelError
from prunelle.graph.folds import short
from prunelle.graph.trace import Graph, module_of
from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import ZERO, Flatten, MapEach, Maps, Op, Step, Vector, VectorEach


@dataclass(frozen=True)
class Channels:
    """A value that is an image. refs: numbers of channels, in the shape of the axes before height and width.
    pad: zeros that a pad operator put above and left; only a convolution may read such a value."""

    refs: np.ndarray
    height: int
    width: int
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Numbers:
    """A value that is a vector, whatever its axes are."""

    vector: Vector
    shape: tuple[int, ...]

    @property
    def one_pixel(self) -> bool:
        """Whether it stands for (1, channels, 1, 1)."""
        return len(self.shape) == 4 and self.shape[1] == self.vector.count


Value = Channels | Numbers
Kernel = Callable[["Lowering", fx.Node], "Value | list[Value] | list[Value | None]"]


@dataclass
class Lowering:
    """What stands when the rules run. lanes: numbers in a vector of the target. folded: what operators on nothing but
    parameters and constants gave."""

    model: nn.Module
    graph: Graph
    lanes: int
    values: dict[fx.Node, Any] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    maps: list[Maps] = field(default_factory=list)
    next: int = ZERO + 1
    folded: dict[str, Any] = field(default_factory=dict)

    def new(self, channels: int, height: int, width: int) -> Maps:
        """A buffer for so many channels."""
        made = Maps(self.next, channels, layout_of(height, width, self.lanes))
        self.next += channels
        self.maps.append(made)
        return made

    def numbers(self, ref: Any) -> np.ndarray:
        """The values of a parameter, buffer or constant, float64."""
        return self.tensor(ref).numpy()

    def tensor(self, ref: fx.Node) -> Any:
        if ref.name in self.folded:
            return self.folded[ref.name]
        name = self.graph.tensors.get(ref.name)
        found = self.graph.constants[ref.name] if name is None else fetch(self.model, name)
        return found.detach().cpu().to(torch.float64, copy=True)

    def is_constant(self, ref: Any) -> bool:
        known = (self.graph.tensors, self.graph.constants, self.folded)
        return isinstance(ref, fx.Node) and any(ref.name in names for names in known)

    def fold(self, node: fx.Node) -> bool:
        """Compute an operator that reads nothing of the image; False for another."""
        if not all(self.is_constant(given) for given in node.all_input_nodes):
            return False
        given = fx.node.map_arg((node.args, dict(node.kwargs)), self.tensor)
        found = node.target(*given[0], **given[1])  # type: ignore[operator]
        self.folded[node.name] = found.double() if isinstance(found, Tensor) else found
        return True

    def channels(self, node: Any) -> Channels:
        value = self.values[node]
        if not isinstance(value, Channels) or value.refs.ndim != 2 or value.pad != (0, 0):
            raise refused(node, "is not a plain map of channels here")
        return value


def refused(node: fx.Node, why: str) -> ModelError:
    where = module_of(node)
    return ModelError(f"native: operator {short(node)}{f' in {where}' if where else ''} {why}.")


def fetch(model: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last)


def whole(out: Maps) -> Channels:
    refs = np.arange(out.first, out.first + out.count).reshape(1, -1)
    return Channels(refs, out.layout.height, out.layout.width)


def flat(value: Channels) -> list[int]:
    return [int(ref) for ref in value.refs.reshape(-1)]


def as_vector(state: Lowering, value: Value, name: str) -> Vector:
    """The value as a vector; a map is flattened."""
    if isinstance(value, Numbers):
        return value.vector
    out = Vector(value.refs.size * value.height * value.width)
    state.ops.append(Flatten(name, flat(value), out))
    return out


def pair(given: Any, default: int) -> tuple[int, int]:
    """An option that is one number or two."""
    if not isinstance(given, (list, tuple)):
        return (int(given), int(given)) if given is not None else (default, default)
    if not given:
        return default, default
    return int(given[0]), int(given[-1])


def bound(node: fx.Node, *names: str) -> list[Any]:
    """The arguments of an operator by position or by name; None where neither is given."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = {
        a.name: (node.args[i] if i < len(node.args) else node.kwargs.get(a.name, a.default_value))
        for i, a in enumerate(schema)
    }
    return [given.get(name) for name in names]


def pixel(state: Lowering, value: Channels, shape: tuple[int, ...], name: str) -> Value:
    """A map of one pixel is a vector from there on."""
    if (value.height, value.width) != (1, 1):
        return value
    return Numbers(as_vector(state, value, name), shape)


def each(state: Lowering, node: fx.Node, value: Value, step: Step) -> Value:
    """One step on all of a value."""
    if isinstance(value, Numbers):
        out = Vector(value.vector.count)
        state.ops.append(VectorEach(module_of(node), value.vector, out, [step]))
        return Numbers(out, value.shape)
    if value.pad != (0, 0):
        raise refused(node, "follows a pad; ship it as onnx")
    made = state.new(value.refs.size, value.height, value.width)
    state.ops.append(MapEach(module_of(node), flat(value), made, [step]))
    return Channels(whole(made).refs.reshape(value.refs.shape), value.height, value.width)
