"""From labels to what people prune: sets of units, each unit a channel with all that must go with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import fx, nn

from prunelle.graph.folds import Scale, Shift, scales, shifts
from prunelle.graph.rules.table import RULES
from prunelle.graph.ties import FIXED, Components, Labels, connected
from prunelle.graph.trace import Graph, module_of
from prunelle.graph.value import Value
from prunelle.graph.walk import Producer, Walk, flat, walk

ROUNDS = 4


@dataclass(frozen=True)
class Set:
    """Units that are pruned by one share. name: the first module that makes them. units: (n,) their labels.
    producers: what makes them. cells: units that may stand in for each other; of every cell the same share goes."""

    name: str
    units: Labels
    producers: tuple[Producer, ...]
    cells: tuple[Labels, ...]


@dataclass(frozen=True)
class Frozen:
    """what: the layer whose channels stay. why: the reasons."""

    what: str
    why: str


@dataclass
class Tied:
    """A traced model, and what in it can go."""

    graph: Graph
    state: Walk
    components: Components
    scales: list[Scale]
    shifts: list[Shift]
    sets: list[Set] = field(default_factory=list)
    frozen: list[Frozen] = field(default_factory=list)

    def tensor(self, node: fx.Node) -> Value:
        """What is known of a node that gives one tensor."""
        value = self.state.values[node]
        assert isinstance(value, Value)
        return value


@dataclass
class Known:
    """What running cut copies taught about types of modules.

    stiff: their forward has hard-wired sizes, with the reason. closed: nothing that runs through them may change.
    rescaled: a factor in their forward is the square root of a size, and follows it. level: how boldly to read their
    attributes, see graph.attributes. chosen: which axis shrinks where several could, see graph.walk.
    """

    stiff: dict[type, str] = field(default_factory=dict)
    closed: dict[type, str] = field(default_factory=dict)
    rescaled: set[type] = field(default_factory=set)
    level: dict[type, int] = field(default_factory=dict)
    chosen: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def num_fixed(self) -> int:
        """How much was learnt that changes which sets there are."""
        return len(self.stiff) + len(self.closed) + len(self.rescaled)


def analyse(model: nn.Module, graph: Graph, learnt: Known | None = None, skip: tuple[str, ...] = ()) -> Tied:
    """Find all sets. skip: paths of modules whose channels are left alone. learnt: `chosen` in it is kept up to date,
    so that the next analysis of the same graph begins where this one ended."""
    learnt = learnt or Known()
    chosen = learnt.chosen
    for attempt in range(ROUNDS):
        state = walk(graph, model, RULES, chosen)
        freeze(state, learnt, skip)
        state.scaled_by_size += [
            (node, source, dims, power)
            for node, source, dims, power in state.roots
            if type(state.modules.get(module_of(node))) in learnt.rescaled
        ]
        folded = scales(state)
        components = balanced(state)
        useless = [c for c in state.choices if not components.units(c.free).any()]
        more = [c for c in useless if chosen.get(c.key, 0) + 1 < c.options]
        if not more or attempt == ROUNDS - 1:
            break
        for choice in more:
            chosen[choice.key] = chosen.get(choice.key, 0) + 1
    ties = Tied(graph, state, components, folded, shifts(state))
    gather(ties)
    return ties


def freeze(state: Walk, learnt: Known, skip: tuple[str, ...]) -> None:
    """Pin what hard-wired forwards read, and what the user wants left alone."""
    for node, value in state.sized:
        module = state.modules.get(module_of(node))
        if type(module) in learnt.stiff:
            for axis in value.axes:
                state.ties.pin(axis.labels, learnt.stiff[type(module)])
    for path, module in state.modules.items() if learnt.closed else ():
        if type(module) in learnt.closed:
            close(state, path, learnt.closed[type(module)])
    for producer in state.producers:
        owners = {module_of(producer.node), owner_of(state.graph, producer)}
        for where in owners:
            if any(where == one or where.startswith(f"{one}.") for one in skip):
                state.ties.pin(producer.labels, f"{where}: is to be left alone")


def close(state: Walk, path: str, why: str) -> None:
    """Pin what one module is handed, and all that its own forward makes."""
    inside = f"{path}." if path else ""
    for node, result in state.values.items():
        where = module_of(node)
        if node.op != "call_function" or (where != path and not where.startswith(inside)):
            continue
        outer = [n for n in node.all_input_nodes if module_of(n) != path and not module_of(n).startswith(inside)]
        handed = flat([state.values.get(n) for n in outer])
        for value in (*handed, *(flat([result]) if where == path else ())):
            for axis in value.axes if value.made_of is None else ():
                state.ties.pin(axis.labels, why)


def balanced(state: Walk) -> Components:
    """Components in which no part that must keep as many as others is pinned alone."""
    while True:
        components = state.ties.components()
        changed = False
        for balance in state.balances:
            units = [components.units(part) for part in balance.parts]
            free = [bool(u.any()) for u in units]
            if any(free) and not all(free):
                changed = True
                for part in balance.parts:
                    state.ties.pin(part, f"{balance.why}, and one of them cannot shrink")
        if not changed:
            return components


def gather(ties: Tied) -> None:
    """Fill in sets and frozen."""
    state, components = ties.state, ties.components
    edges = []
    made = []
    for producer in state.producers:
        units = np.unique(components.units(producer.labels))
        units = units[units != FIXED]
        made.append(units)
        if len(units) > 1:
            edges.append((units[:-1], units[1:]))
    for balance in state.balances:
        units = np.unique(np.concatenate([components.units(part) for part in balance.parts]))
        units = units[units != FIXED]
        if len(units) > 1:
            edges.append((units[:-1], units[1:]))
    group = connected(len(components.root), edges)
    parts = parts_by_group(state, components, group)
    by_group: dict[int, list[int]] = {}
    for position, units in enumerate(made):
        if len(units):
            by_group.setdefault(int(group[units[0]]), []).append(position)
        else:
            ties.frozen.append(Frozen(*why_frozen(ties, state.producers[position])))
    for members in by_group.values():
        units = np.unique(np.concatenate([made[i] for i in members]))
        name = place_of(ties, state.producers[members[0]])
        if len(units) < 2:
            ties.frozen.append(Frozen(name, "all its channels make a single unit, which must stay"))
            continue
        producers = tuple(state.producers[i] for i in members)
        ties.sets.append(Set(name, units, producers, cells_of(units, parts.get(int(group[units[0]]), []))))
    ties.frozen = list(dict.fromkeys(ties.frozen))


def place_of(ties: Tied, producer: Producer) -> str:
    """The module that makes these channels, or the tensor when it has no module of its own."""
    if producer.weight.name in ties.graph.tensors:
        return owner_of(ties.graph, producer) or ties.graph.tensors[producer.weight.name]
    return module_of(producer.node) or producer.node.name


def owner_of(graph: Graph, producer: Producer) -> str:
    """The path of the module that holds a producer's weight, as seen from its name; '' where it has none."""
    return graph.tensors.get(producer.weight.name, "").rpartition(".")[0]


def why_frozen(ties: Tied, producer: Producer) -> tuple[str, str]:
    units = np.unique(ties.components.root[producer.labels])
    reasons = [why for unit in units.tolist() for why in ties.components.reasons.get(unit, [])]
    counted = [why for why in dict.fromkeys(reasons) if why]
    return place_of(ties, producer), "; ".join(counted[:3]) or "nothing says that it may shrink"


def parts_by_group(state: Walk, components: Components, group: Labels) -> dict[int, list[tuple[Labels, Labels]]]:
    """For each set, what its balances count: (units, how often) for every part."""
    found: dict[int, list[tuple[Labels, Labels]]] = {}
    for balance in state.balances:
        for part in balance.parts:
            units, counts = np.unique(components.units(part), return_counts=True)
            free = units != FIXED
            if free.any():
                found.setdefault(int(group[units[free][0]]), []).append((units[free], counts[free]))
    return found


def cells_of(units: Labels, parts: list[tuple[Labels, Labels]]) -> tuple[Labels, ...]:
    """Units of a set by what they count for in every part that must stay balanced. units: (n,), ascending."""
    if not parts:
        return (units,)
    table = np.zeros((len(units), len(parts)), dtype=np.int64)
    for column, (members, counts) in enumerate(parts):
        own = np.isin(members, units)  # a part may hold units that nothing makes, such as padded zeros
        table[np.searchsorted(units, members[own]), column] = counts[own]
    _, which = np.unique(table, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return tuple(units[which == cell] for cell in range(which.max() + 1))
