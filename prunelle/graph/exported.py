"""A cut network as its exported graph: for inference only, at the example's batch size, but free of the sizes that a
forward holds hard-wired."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunelle.graph.attributes import dim_of, padding
from prunelle.graph.attributes import groups as group_counts
from prunelle.graph.copies import shell
from prunelle.graph.cuts import Cuts, slices
from prunelle.graph.folds import fold_, short
from prunelle.graph.known_layers import kept
from prunelle.graph.sets import Tied
from prunelle.graph.ties import Removed
from prunelle.graph.value import Value
from prunelle.graph.walk import flat

RESHAPES = ("reshape", "view", "_unsafe_view", "expand", "unflatten")


class Exported(nn.Module):
    """A graph with its own tensors. Its parameters are named as the model's, with dots as underscores."""

    def __init__(
        self, graph: fx.GraphModule, names: list[str], tensors: dict[str, Tensor], constants: list[Tensor]
    ) -> None:
        super().__init__()
        self.graph = graph
        self.names = [name.replace(".", "_") for name in names]
        for name in dict.fromkeys(names):
            self.register_buffer(name.replace(".", "_"), tensors[name])
        self.constants = constants

    def forward(self, *inputs: Any) -> Any:
        held = [getattr(self, name) for name in self.names]
        given = self.graph(*held, *self.constants, *inputs)
        return given[0] if isinstance(given, (tuple, list)) and len(given) == 1 else given


@torch.no_grad()
def exported(model: nn.Module, tied: Tied, removed: Removed, cuts: Cuts) -> Exported:
    """The graph of `tied` with smaller tensors of `model`, and every size in it rewritten.

    cuts: of tensors only. Takes nothing but the example's batch size, and is not to be trained.
    """
    folded = shell(model)
    fold_(folded, tied.components, removed, tied.scales, tied.shifts)
    found: dict[str, Tensor] = dict(folded.named_parameters(remove_duplicate=False))
    found |= dict(folded.named_buffers(remove_duplicate=False))
    smaller = slices(folded, cuts)
    tensors = {name: smaller.get(id(tensor), tensor).detach().clone() for name, tensor in found.items()}
    module = copy.copy(tied.graph.module)
    graph = fx.Graph()
    remap: dict[fx.Node, fx.Node] = {}
    for node in tied.graph.module.graph.nodes:
        remap[node] = graph.node_copy(node, lambda each: remap[each])
        if node.op == "call_function":
            resize_(remap[node], node, tied, removed)
    places = [node.name for node in tied.graph.nodes if node.op == "placeholder"]
    names = [tied.graph.tensors[place] for place in places if place in tied.graph.tensors]
    constants = [tied.graph.constants[place] for place in places if place in tied.graph.constants]
    return Exported(fx.GraphModule(module, graph), names, tensors, constants)


def resize_(new: fx.Node, old: fx.Node, tied: Tied, removed: Removed) -> None:
    """Rewrite the sizes among a node's arguments."""
    op, args = short(old), list(new.args)
    values = flat([tied.state.values.get(old)])
    if not values:
        return

    def sizes(value: Value) -> list[int]:
        return [kept(tied, axis, removed) for axis in value.axes]

    given: Any = old.args
    if op in RESHAPES and len(args) > 1:
        if op == "unflatten":
            width = len(given[2])
            start = given[1] % (values[0].ndim - width + 1)
            args[2] = sizes(values[0])[start : start + width]
        else:
            args[1] = sizes(values[0])
    elif op in ("split", "split_with_sizes"):
        dim = dim_of(old)
        new.target = torch.ops.aten.split_with_sizes.default
        args[1] = [kept(tied, value.axes[dim], removed) for value in values]
    elif op == "slice" and len(args) > 2:
        axis = tied.tensor(given[0]).axes[given[1]]
        bounds = slice(*[*given[2:4], None][:2]).indices(len(axis))[:2]
        edges = [kept(tied, axis.take(slice(0, edge)), removed) for edge in bounds]
        args[2:4] = edges[: len(args[2:4])]
    elif op == "narrow":
        axis = tied.tensor(given[0]).axes[given[1]]
        before, after = (kept(tied, axis.take(slice(0, edge)), removed) for edge in (given[2], given[2] + given[3]))
        args[2:4] = [before, after - before]
    elif op in ("pad", "constant_pad_nd"):
        runs: dict[tuple[int, ...], tuple[int, ...]] = {}
        padding(tied, removed, old, values[0], runs)
        widths = list(given[1])
        for back in range(0, len(widths), 2):
            axis = values[0].axes[-1 - back // 2]
            if axis.free:
                widths[back : back + 2] = runs[widths[back], widths[back + 1]]
        args[1] = widths
    elif op.startswith("conv") and len(given) > 6 and given[6] > 1:
        args[6] = group_counts(tied, old, removed)[1]
    elif op == "group_norm":
        channels = tied.tensor(given[0]).axes[1]
        args[1] = kept(tied, channels, removed) * given[1] // len(channels)
    new.args = tuple(args)
