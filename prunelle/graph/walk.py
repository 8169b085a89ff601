"""Labels carried through a graph, node by node. What the rules note on the way is all that cutting needs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from prunelle.graph.ties import FIXED, Labels, Ties
from prunelle.graph.trace import Graph, module_of, shape_of
from prunelle.graph.value import At, Axis, Value, fixed_value, value_of

Result = Value | list[Any] | None
Rule = Callable[..., Result]


@dataclass(frozen=True)
class Producer:
    """Something whose output axis makes channels. labels: (n,). weight: the node that holds its weights, axis: which
    of its axes they lie on. repeats: a recurrent layer's weight has its units so many times over."""

    node: fx.Node
    weight: fx.Node
    axis: int
    labels: Labels
    repeats: int = 1


@dataclass(frozen=True)
class Consumer:
    """A weighted sum over channels. labels: (n,) of its input axis, at: (n,) what comes in for those removed."""

    node: fx.Node
    weight: Value
    bias: Value | None
    labels: Labels
    at: At


@dataclass(frozen=True)
class Grouped:
    """A grouped convolution's weight. labels: (groups, n) of its inputs: axis 1 means another channel in each group."""

    tensor: str
    labels: Labels


@dataclass(frozen=True)
class Balance:
    """Parts of an axis that must keep equally many of their indices, for `why`. parts: (n,) each."""

    parts: tuple[Labels, ...]
    why: str


@dataclass(frozen=True)
class Choice:
    """A place where one of several factors of an axis may shrink. free: (n,) labels of the one that does.
    options: how many there are."""

    key: tuple[str, int]
    free: Labels
    options: int


@dataclass
class Walk:
    """One pass over a graph. chosen: (node, place) -> which option was taken where there are several."""

    graph: Graph
    modules: dict[str, nn.Module] = field(default_factory=dict)
    chosen: dict[tuple[str, int], int] = field(default_factory=dict)
    ties: Ties = field(default_factory=Ties)
    values: dict[fx.Node, Result] = field(default_factory=dict)
    tensors: dict[str, Value] = field(default_factory=dict)
    producers: list[Producer] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    grouped: list[Grouped] = field(default_factory=list)
    costs: list[tuple[int, tuple[Labels, ...]]] = field(default_factory=list)
    norms: list[tuple[str, Labels]] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    zeroed: list[tuple[str, int | None, Labels]] = field(default_factory=list)
    weighted: set[tuple[str, int]] = field(default_factory=set)
    scaled_by_size: list[tuple[fx.Node, fx.Node, Labels, int]] = field(default_factory=list)
    roots: list[tuple[fx.Node, fx.Node, Labels, int]] = field(default_factory=list)
    summed: dict[fx.Node, tuple[fx.Node, Labels]] = field(default_factory=dict)
    sized: list[tuple[fx.Node, Value]] = field(default_factory=list)
    node: fx.Node = field(init=False)

    @property
    def place(self) -> str:
        """Where the current node runs, for people."""
        where = module_of(self.node) or "the model's own forward"
        return f"{str(self.node.target).removeprefix('aten.').split('.')[0]} in {where}"

    def owner(self) -> nn.Module | None:
        """The module whose forward runs the current node."""
        return self.modules.get(module_of(self.node))

    def node_uses_state(self) -> bool:
        """Whether anything but the first output of a recurrent layer is read."""
        return any(user.target is operator.getitem and user.args[1] != 0 and user.users for user in self.node.users)

    def pin(self, axis: Axis | Labels, why: str) -> None:
        """An axis, or some labels of one, must stay because of what the current node does."""
        self.ties.pin(axis.labels if isinstance(axis, Axis) else axis, f"{self.place}: {why}")

    def pin_all(self, value: Value, why: str) -> None:
        for axis in value.axes:
            self.pin(axis, why)

    def join(self, first: Axis | Labels, second: Axis | Labels, why: str) -> None:
        """Two axes of one length, index by index."""
        a = first.labels if isinstance(first, Axis) else first
        b = second.labels if isinstance(second, Axis) else second
        self.ties.join(a, b, f"{self.place}: {why}")

    def zero(self, value: Value, axis: int) -> None:
        """Masking sets the removed indices of this axis to 0, in the parameters that it comes from."""
        for name in value.made_of or ():
            self.zeroed.append((name, axis % value.ndim if value.tensor else None, value.axes[axis].labels))

    def balance(self, parts: Sequence[Labels], why: str) -> None:
        """These parts must keep equally many, or the forward's own arithmetic no longer comes out."""
        if len(parts) > 1 and any((part != FIXED).any() for part in parts):
            self.balances.append(Balance(tuple(parts), f"{self.place}: {why}"))

    def cost(self, macs: int, *axes: Axis | Labels) -> None:
        """Multiply-adds of the current node, which fall with what is kept of these axes."""
        labels = [axis.labels if isinstance(axis, Axis) else axis for axis in axes]
        self.costs.append((int(macs), tuple(each for each in labels if (each != FIXED).any())))

    def choose(self, place: int, options: int) -> int:
        """Which of `options` to take at this place of the current node."""
        return min(self.chosen.get((self.node.name, place), 0), options - 1)

    def note(self, place: int, free: Labels, options: int) -> None:
        """Remember that at this place of the current node something else could shrink."""
        if options > 1 and (free != FIXED).any():
            self.choices.append(Choice((self.node.name, place), free, options))


def walk(
    graph: Graph, model: nn.Module, rules: dict[str, Rule], chosen: dict[tuple[str, int], int] | None = None
) -> Walk:
    """Carry labels through the whole graph. rules: operator name -> rule; pointwise operators need none."""
    state = Walk(graph, dict(model.named_modules()), chosen or {})
    run(state, graph.nodes, rules)
    return state


def run(state: Walk, nodes: Sequence[fx.Node], rules: dict[str, Rule]) -> Result:
    """Walk these nodes; what they return."""
    given: Result = None
    for node in nodes:
        state.node = node
        if node.op == "placeholder":
            if node not in state.values:
                state.values[node] = placeholder(state, node)
        elif node.op == "get_attr":
            held = attribute(node)
            state.values[node] = value_of(fixed_value(shape_of(held)).axes) if torch.is_tensor(held) else None
        elif node.op == "call_function":
            state.values[node] = call(state, node, rules)
        elif node.op == "output":
            given = resolve(state, node.args[0])
            if node.graph is state.graph.module.graph:
                for value in flat(given):
                    state.pin_all(value, "what the model gives back keeps its size")
    return given


def attribute(node: fx.Node) -> Any:
    found: Any = node.graph.owning_module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def placeholder(state: Walk, node: fx.Node) -> Value | None:
    graph = state.graph
    if node.name in graph.tensors:
        name = graph.tensors[node.name]
        if name not in state.tensors:
            shape = shape_of(node.meta["val"])
            labels = [state.ties.fresh(n) if n > 1 else np.zeros(n, dtype=np.int64) for n in shape]
            state.tensors[name] = Value(tuple(Axis(each, np.zeros(len(each))) for each in labels), name, (name,))
        return state.tensors[name]
    meta = node.meta.get("val")
    if not torch.is_tensor(meta):
        return None
    return fixed_value(shape_of(meta), [] if node.name in graph.constants else [Value(())])


def call(state: Walk, node: fx.Node, rules: dict[str, Rule]) -> Result:
    """What a call gives. An operator without a rule pins all that goes in."""
    if node.target is operator.getitem:
        source, which = node.args
        held = state.values[source]  # type: ignore[index]
        return held[which] if isinstance(held, list) else None  # type: ignore[index]
    args, kwargs = resolve(state, node.args), resolve(state, dict(node.kwargs))
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        return inline(state, node, args, rules)
    name = str(node.target).removeprefix("aten.")
    rule = rules.get(name) or rules.get(name.split(".")[0])
    if rule is None and torch.Tag.pointwise in getattr(node.target, "tags", ()):
        rule = rules["pointwise"]
    try:
        given = (rule or rules["unknown"])(state, *args, **kwargs)
        if isinstance(given, Value) and given.shape != shape_of(node.meta["val"]):
            raise ValueError(f"a rule gave {given.shape}")
    except (ValueError, TypeError, IndexError, AttributeError, AssertionError):
        given = rules["unknown"](state, *args, **kwargs)  # arguments that its rule does not know
    if isinstance(given, Value) and name.split(".")[0].endswith("_") and isinstance(node.args[0], fx.Node):
        overwrite(state, node.args[0], given)
    return given


VIEWS = ("view", "reshape", "slice", "select", "narrow", "split", "chunk", "permute", "transpose", "unbind")


def overwrite(state: Walk, target: fx.Node, given: Value) -> None:
    """An operator wrote in place: who reads its input later reads this. Of a view, the whole changes with it: what
    then stands at its removed indices is not followed."""
    old = state.values[target]
    state.values[target] = given
    if not isinstance(old, Value) or all(
        np.array_equal(a.at, b.at, equal_nan=True) for a, b in zip(old.axes, given.axes, strict=True)
    ):
        return
    while isinstance(target, fx.Node) and any(str(target.target).startswith(f"aten.{word}") for word in VIEWS):
        source = target.args[0]
        assert isinstance(source, fx.Node)
        for value in flat([state.values[source]]):
            state.pin_all(value, "is written into through a view")
        target = source


def inline(state: Walk, node: fx.Node, args: Sequence[Any], rules: dict[str, Rule]) -> Result:
    """A call of a graph inside the graph, such as a region under autocast."""
    bodies = [arg for arg in node.args if isinstance(arg, fx.Node) and arg.op == "get_attr"]
    if len(bodies) != 1:
        return rules["unknown"](state, *args)
    position = node.args.index(bodies[0])
    inner = attribute(bodies[0]).graph
    places = [each for each in inner.nodes if each.op == "placeholder"]
    given = args[position + 1 :]
    if len(places) != len(given):
        return rules["unknown"](state, *args)
    for place, value in zip(places, given, strict=True):
        state.values[place] = value
    found = run(state, list(inner.nodes), rules)
    state.node = node
    return list(found) if isinstance(found, (list, tuple)) else found


def resolve(state: Walk, argument: Any) -> Any:
    """An argument with values in the places of nodes."""
    if isinstance(argument, fx.Node):
        return state.values[argument]
    if isinstance(argument, (list, tuple)):
        return [resolve(state, each) for each in argument]
    if isinstance(argument, dict):
        return {key: resolve(state, each) for key, each in argument.items()}
    return argument


def flat(argument: Any) -> list[Value]:
    """All values inside an argument."""
    if isinstance(argument, Value):
        return [argument]
    if isinstance(argument, (list, tuple)):
        return [value for each in argument for value in flat(each)]
    if isinstance(argument, dict):
        return flat(list(argument.values()))
    return []
