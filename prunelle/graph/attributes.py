"""Which attributes of a module hold the sizes that its own forward uses, and what they become."""

from __future__ import annotations

from typing import Any

from prunelle.graph.cuts import Attribute
from prunelle.graph.folds import short
from prunelle.graph.known_layers import KNOWN, kept, known
from prunelle.graph.sets import Tied
from prunelle.graph.ties import Removed
from prunelle.graph.trace import module_of
from prunelle.graph.value import Value
from prunelle.graph.walk import flat

Sizes = dict[int, set[int]]
Runs = dict[tuple[int, ...], tuple[int, ...]]
SAFE, SHARED, BOLD, BOLDEST = range(4)


def attributes(tied: Tied, removed: Removed, level: dict[type, int]) -> list[Attribute]:
    """New values of all attributes that hold a size. removed: (labels,) by unit.

    level: how boldly to read the attributes of a type of module: SAFE the sizes that its own operators are told and
    that mean one axis only, SHARED those that other axes have too, BOLD every size that passes through, BOLDEST none.
    """
    found = list(known(tied, removed))
    said = {(one.module, one.name) for one in found}
    told_sizes = {module_of(node) for node, _ in tied.state.sized}
    for path, module in tied.state.modules.items():
        boldness = level.get(type(module), SAFE)
        if boldness == BOLDEST or path not in told_sizes or isinstance(module, KNOWN):
            continue
        sizes, runs = passing(tied, removed, path) if boldness == BOLD else told(tied, removed, path, boldness)
        for name, value in vars(module).items():
            if not name.startswith("_") and (path, name) not in said:
                after = renamed(value, sizes, runs)
                if after is not None:
                    found.append(Attribute(module=path, name=name, value=after))
    return found


def renamed(value: Any, sizes: Sizes, runs: Runs) -> int | list[int] | None:
    """What an attribute becomes, None when it stays or could become several things."""
    if isinstance(value, int) and not isinstance(value, bool):
        after = sizes.get(value, set())
        return next(iter(after)) if len(after) == 1 and after != {value} else None
    if isinstance(value, (tuple, list)) and value and all(type(each) is int for each in value):
        run = runs.get(tuple(value))
        return list(run) if run is not None and run != tuple(value) else None
    return None


def passing(tied: Tied, removed: Removed, path: str) -> tuple[Sizes, Runs]:
    """All sizes of tensors that run through a module and those inside it, where they shrink: old -> new."""
    sizes: Sizes = {}
    for node, value in tied.state.values.items():
        where = module_of(node)
        if where != path and not where.startswith(f"{path}." if path else ""):
            continue
        for each in (value, *(tied.state.values.get(source) for source in node.all_input_nodes)):
            for axis in each.axes if isinstance(each, Value) and not each.made_of else ():
                if axis.free and kept(tied, axis, removed) != len(axis):
                    sizes.setdefault(len(axis), set()).add(kept(tied, axis, removed))
    return sizes, {}


def told(tied: Tied, removed: Removed, path: str, boldness: int) -> tuple[Sizes, Runs]:
    """Sizes that the operators in one module's forward are told: old -> new, and runs of them."""
    sizes: Sizes = {}
    runs: Runs = {}
    for node, source in tied.state.sized:
        if module_of(node) != path:
            continue
        values = flat([tied.state.values[node]])
        for value in values:
            for axis in value.axes:
                if axis.free or boldness == SAFE:
                    sizes.setdefault(len(axis), set()).add(kept(tied, axis, removed))
        op = short(node)
        if op in ("slice", "narrow"):
            slice_edges(tied, removed, node, source, sizes)
        if op in ("split", "split_with_sizes"):
            parts = [value.axes[dim_of(node)] for value in values]
            runs[tuple(map(len, parts))] = tuple(kept(tied, part, removed) for part in parts)
        if op == "pad":
            padding(tied, removed, node, values[0], runs)
        if op.startswith("conv"):
            before, after = groups(tied, node, removed)
            sizes.setdefault(before, set()).add(after)
    return sizes, runs


def dim_of(node: Any) -> int:
    """The axis that a split is along."""
    return node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)


def slice_edges(tied: Tied, removed: Removed, node: Any, source: Value, sizes: Sizes) -> None:
    """Where a slice starts and ends, counted from the front."""
    axis = source.axes[node.args[1] if len(node.args) > 1 else 0]
    args = [*node.args[2:], None, None]
    end = args[0] + args[1] if short(node) == "narrow" else args[1]
    for edge in slice(args[0], end).indices(len(axis))[:2]:
        sizes.setdefault(edge, set()).add(kept(tied, axis.take(slice(0, edge)), removed))


def padding(tied: Tied, removed: Removed, node: Any, given: Value, runs: Runs) -> None:
    """Padding of channels: (before, after)."""
    widths = node.args[1]
    for back in range(len(widths) // 2):
        before, after = widths[2 * back], widths[2 * back + 1]
        axis = given.axes[-1 - back]
        if axis.free:
            ends = (axis.take(slice(0, before)), axis.take(slice(len(axis) - after, None)))
            runs[before, after] = (kept(tied, ends[0], removed), kept(tied, ends[1], removed))


def groups(tied: Tied, node: Any, removed: Removed) -> tuple[int, int]:
    """(groups of a convolution that a forward calls, groups afterwards)."""
    x, weight = tied.tensor(node.args[0]), tied.tensor(node.args[1])
    channels = x.axes[x.ndim - weight.ndim + 1]
    before = node.args[6] if len(node.args) > 6 else 1
    if any(each.tensor == weight.tensor for each in tied.state.grouped):
        return before, before
    return before, kept(tied, channels, removed) * before // len(channels)
