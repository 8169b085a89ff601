"""Which attributes of a module hold the sizes that its forward uses, and what they become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import fx, nn

from prunelle.graph.cuts import Attribute
from prunelle.graph.folds import short
from prunelle.graph.sets import Tied
from prunelle.graph.trace import module_of
from prunelle.graph.value import Axis, Value

KNOWN = (
    nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.Embedding,
    nn.PReLU, nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip
Sizes = dict[int, set[int]]


def attributes(tied: Tied, removed: np.ndarray, level: dict[type, int]) -> list[Attribute]:
    """New values of all attributes that hold a size. removed: (labels,) by unit. level: how boldly to read the
    attributes of a type of module: 0 the sizes that its own operators are told and that mean one axis only, 1 those
    that other axes have too, 2 every size that passes through, 3 none."""
    found = list(known(tied, removed))
    said = {(a.module, a.name) for a in found}
    told_any = owners(tied)
    for path, module in tied.state.modules.items():
        boldness = level.get(type(module), 0)
        if boldness == 3 or path not in told_any or isinstance(module, KNOWN):
            continue
        sizes, runs = told(tied, removed, path, boldness)
        for name, value in vars(module).items():
            if name.startswith("_") or (path, name) in said or name == "training":
                continue
            after = renamed(value, sizes, runs)
            if after is not None:
                found.append(Attribute(module=path, name=name, value=after))
    return found


def owners(tied: Tied) -> set[str]:
    """Paths of modules whose own forward is told sizes."""
    return {module_of(node) for node, _ in tied.state.sized}


def renamed(value: Any, sizes: Sizes, runs: dict[tuple[int, ...], tuple[int, ...]]) -> int | list[int] | None:
    """What an attribute becomes, None when it stays."""
    if isinstance(value, int) and not isinstance(value, bool):
        after = sizes.get(value, set())
        return next(iter(after)) if len(after) == 1 and after != {value} else None
    if isinstance(value, (tuple, list)) and value and all(type(each) is int for each in value):
        after_run = runs.get(tuple(value))
        return list(after_run) if after_run is not None and after_run != tuple(value) else None
    return None


def kept(tied: Tied, axis: Axis, removed: np.ndarray) -> int:
    """How many indices of an axis stay."""
    return int((~removed[tied.components.root[axis.labels]]).sum())


def told(
    tied: Tied, removed: np.ndarray, path: str, boldness: int
) -> tuple[Sizes, dict[tuple[int, ...], tuple[int, ...]]]:
    """Sizes that the operators in one module's forward are told: old -> new, and runs of them."""
    sizes: Sizes = {}
    runs: dict[tuple[int, ...], tuple[int, ...]] = {}
    if boldness == 2:
        for node, value in tied.state.values.items():
            where = module_of(node)
            if where != path and not where.startswith(f"{path}." if path else ""):
                continue
            inside = [value, *(tied.state.values.get(each) for each in node.all_input_nodes)]
            for each in inside:
                for axis in each.axes if isinstance(each, Value) and not each.made_of else ():
                    if axis.free and kept(tied, axis, removed) != len(axis):
                        sizes.setdefault(len(axis), set()).add(kept(tied, axis, removed))
        return sizes, runs
    for node, source in tied.state.sized:
        if module_of(node) != path:
            continue
        given = tied.state.values[node]
        values = given if isinstance(given, list) else [given]
        for value in values:
            for axis in value.axes:
                if axis.free or boldness == 0:
                    sizes.setdefault(len(axis), set()).add(kept(tied, axis, removed))
        op = short(node)
        for axis in source.axes:
            if axis.free and op in ("slice", "narrow"):
                start, end = edges(node, len(axis))
                for edge in (start, end):
                    part = axis.take(slice(0, edge))
                    sizes.setdefault(edge, set()).add(kept(tied, part, removed))
        if op in ("split", "split_with_sizes"):
            dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
            before = tuple(len(value.axes[dim]) for value in values)
            runs[before] = tuple(kept(tied, value.axes[dim], removed) for value in values)
        if op == "pad":
            pairs(tied, removed, node, source, values[0], runs)
        if op.startswith("conv"):
            sizes.setdefault(*group_counts(tied, node, removed))
    return sizes, runs


def edges(node: fx.Node, size: int) -> tuple[int, int]:
    """Where a slice starts and ends, counted from the front."""
    args = [*node.args[2:], *[None] * 3]
    if short(node) == "narrow":
        return int(args[0]), int(args[0]) + int(args[1])  # type: ignore[arg-type]
    first, last, _ = slice(args[0], args[1]).indices(size)  # type: ignore[misc]
    return first, last


def pairs(
    tied: Tied, removed: np.ndarray, node: fx.Node, source: Value, given: Value, runs: dict[Any, tuple[int, ...]]
) -> None:
    """Padding of channels: (before, after)."""
    widths = node.args[1]
    for back in range(len(widths) // 2):  # type: ignore[arg-type]
        before, after = widths[2 * back], widths[2 * back + 1]  # type: ignore[index]
        axis = given.axes[-1 - back]
        if axis.free and len(axis) == len(source.axes[0]) + before + after:
            runs[before, after] = (
                kept(tied, axis.take(slice(0, before)), removed),
                kept(tied, axis.take(slice(len(axis) - after, None)), removed),
            )


def group_counts(tied: Tied, node: fx.Node, removed: np.ndarray) -> tuple[int, set[int]]:
    """(groups of a convolution, groups afterwards)."""
    x, weight = (tied.state.values[each] for each in node.args[:2])  # type: ignore[index]
    spatial = weight.ndim - 2  # type: ignore[union-attr]
    channels = x.axes[x.ndim - spatial - 1]  # type: ignore[union-attr]
    groups = node.args[6] if len(node.args) > 6 else 1
    each = len(channels) // groups  # type: ignore[operator]
    for grouped in tied.state.grouped:
        if grouped.tensor == weight.tensor:  # type: ignore[union-attr]
            return groups, {groups}  # type: ignore[return-value]
    return groups, {kept(tied, channels, removed) // each}  # type: ignore[return-value]


def known(tied: Tied, removed: np.ndarray) -> Iterator[Attribute]:
    """Attributes of torch's own layers, from the operators that they run."""
    done: set[str] = set()
    for node in tied.graph.nodes:
        path = module_of(node)
        module = tied.state.modules.get(path)
        if node.op != "call_function" or path in done or not isinstance(module, KNOWN):
            continue
        new = sizes_of(tied, node, module, removed)
        if new:
            done.add(path)
        for name, value in new.items():
            if getattr(module, name, None) not in (None, value) and name in vars(module):
                yield Attribute(module=path, name=name, value=value)


def sizes_of(tied: Tied, node: fx.Node, module: nn.Module, removed: np.ndarray) -> dict[str, int]:
    """The sizes of one of torch's layers after the cut, when this is the operator that it is named for."""
    op = short(node)
    values = [tied.state.values.get(arg) if isinstance(arg, fx.Node) else None for arg in node.args]
    x = values[0]
    out = tied.state.values.get(node)
    if not isinstance(x, Value):
        return {}
    if isinstance(module, nn.modules.conv._ConvNd) and op.startswith("conv"):
        assert isinstance(out, Value)
        channel = x.ndim - len(module.kernel_size) - 1
        ins = kept(tied, x.axes[channel], removed)
        outs = kept(tied, out.axes[channel], removed)
        groups = module.groups
        if groups > 1 and not any(g.tensor == f"{prefix(node)}weight" for g in tied.state.grouped):
            groups = ins // (module.in_channels // groups)
        return {"in_channels": ins, "out_channels": outs, "groups": groups}
    if isinstance(module, nn.Linear) and op == "linear":
        assert isinstance(out, Value)
        return {"in_features": kept(tied, x.axes[-1], removed), "out_features": kept(tied, out.axes[-1], removed)}
    if isinstance(module, nn.modules.batchnorm._NormBase) and op in ("batch_norm", "instance_norm"):
        return {"num_features": kept(tied, x.axes[1], removed)}
    if isinstance(module, nn.GroupNorm) and op == "group_norm":
        channels = kept(tied, x.axes[1], removed)
        return {"num_channels": channels, "num_groups": channels * module.num_groups // module.num_channels}
    if isinstance(module, nn.Embedding) and op == "embedding":
        assert isinstance(out, Value)
        return {"embedding_dim": kept(tied, out.axes[-1], removed)}
    if isinstance(module, nn.PReLU) and op == "prelu" and module.num_parameters > 1:
        return {"num_parameters": kept(tied, x.axes[1], removed)}
    if isinstance(module, nn.MultiheadAttention) and op == "linear":
        path = module_of(node)
        reads = [n for n in tied.graph.nodes if module_of(n) == path and short(n) == "linear"]
        widths = [kept(tied, tied.state.values[n.args[0]].axes[-1], removed) for n in reads[:3]]  # type: ignore
        embed = widths[0]
        others = (embed, embed) if module._qkv_same_embed_dim else widths[1:]
        return {"embed_dim": embed, "kdim": others[0], "vdim": others[1], "head_dim": embed // module.num_heads}
    if isinstance(module, nn.RNNBase):
        weights = node.args[2]
        rows = tied.state.values[weights[1]].axes[0]  # type: ignore[index]
        hidden = kept(tied, rows, removed) * module.hidden_size // len(rows)
        return {"input_size": kept(tied, x.axes[-1], removed), "hidden_size": hidden}
    return {}


def prefix(node: fx.Node) -> str:
    path = module_of(node)
    return f"{path}." if path else ""


def holds_pair(module: nn.Module | None, before: int, after: int) -> bool:
    """Whether a module has an attribute that is these two numbers."""
    own = {} if module is None else vars(module)
    return any(
        isinstance(value, (tuple, list)) and list(value) == [before, after]
        for name, value in own.items()
        if not name.startswith("_")
    )
