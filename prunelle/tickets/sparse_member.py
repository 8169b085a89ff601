"""One training in memory when only its kept weights are there: their values side by side."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunelle.tickets.sparse_chain import Link
from prunelle.tickets.sparse_library import LayerC, MemberC
from prunelle.tickets.sparse_lists import Lists, alive_outputs, lists_of
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import Optimizer, State


@dataclass
class SparseMember:
    """links: the network. lists: of each layer. values: `weights` and what the optimizer keeps, each all kept numbers
    side by side, layer after layer, a layer's bias behind its weights. counts: of steps, one a tensor. struct: the
    same for C. held: what the struct points to."""

    links: tuple[Link, ...]
    lists: list[Lists]
    values: dict[str, Tensor]
    counts: Tensor
    struct: MemberC = field(default_factory=MemberC)
    held: list[object] = field(default_factory=list)

    def spread(self, quantity: str) -> dict[str, Tensor]:
        """Whole tensors of the values by the weights' names, 0 where not kept."""
        found: dict[str, Tensor] = {}
        pieces = iter(self.values[quantity].split(sizes_of(self.links, self.lists)))
        for link, lists in zip(self.links, self.lists, strict=True):
            found[link.weight] = lists.spread(next(pieces))
            if link.bias:
                found[link.bias] = next(pieces).clone()
        return found

    def state(self, names: Sequence[str]) -> State:
        """The optimizer's state as whole tensors, in the order of `names`."""
        found: State = {}
        for quantity in self.values:
            if quantity != "weights":
                whole = self.spread(quantity)
                found[quantity] = [whole[name] for name in names]
        if "exp_avg" in found:
            order = names_of(self.links)
            found["count"] = [self.counts[order.index(name)].clone() for name in names]
        return found


def begin_member(
    links: tuple[Link, ...], start: Start, optimizer: Optimizer, names: Sequence[str], vector_bytes: int
) -> SparseMember:
    """A member that stands where `start` says. names: of the weights in the order of the optimizer's state."""
    masks = [start.kept[k.weight] if k.weight in start.kept else torch.ones(k.outputs, k.inputs) > 0 for k in links]
    masks = [mask.cpu() for mask in masks]
    parts = enumerate(zip(masks, alive_outputs(masks), strict=True))
    lists = [lists_of(mask, alive, number > 0, vector_bytes) for number, (mask, alive) in parts]
    values = {"weights": gathered(links, lists, start.tensors)}
    fresh = optimizer.init([values["weights"]])
    values |= {quantity: torch.zeros_like(values["weights"]) for quantity in fresh if quantity != "count"}
    counts = torch.zeros(len(names))
    for quantity, tensors in start.optimizer.items():
        given = dict(zip(names, tensors, strict=True))
        if quantity == "count":
            counts = torch.stack([given[name].float().cpu().reshape(()) for name in names_of(links)])
        else:
            values[quantity] = gathered(links, lists, given)
    member = SparseMember(links, lists, values, counts)
    connect_(member)
    return member


def gathered(links: Sequence[Link], lists: Sequence[Lists], tensors: Mapping[str, Tensor]) -> Tensor:
    """The kept numbers of whole tensors side by side, float32, a copy."""
    pieces = []
    for link, own in zip(links, lists, strict=True):
        pieces.append(own.gather(tensors[link.weight]))
        if link.bias:
            pieces.append(tensors[link.bias].detach().cpu().float())
    return torch.cat(pieces)


def names_of(links: Sequence[Link]) -> list[str]:
    """Of all tensors in the order they stand."""
    return [name for link in links for name in (link.weight, link.bias) if name]


def sizes_of(links: Sequence[Link], lists: Sequence[Lists]) -> list[int]:
    """How many kept numbers each tensor has, in the order they stand."""
    sizes = []
    for link, own in zip(links, lists, strict=True):
        sizes += [len(own.where)] + ([link.outputs] if link.bias else [])
    return sizes


def connect_(member: SparseMember) -> None:
    """Write the member's struct."""
    sizes = sizes_of(member.links, member.lists)
    ends = torch.tensor(sizes).cumsum(0).int()
    starts = iter([0, *ends.tolist()])
    layers = (LayerC * len(member.links))()
    for link, lists, struct in zip(member.links, member.lists, layers, strict=True):
        for name, table in lists.tables.items():
            setattr(struct, name, table.data_ptr())
        struct.num_rows, struct.chunks, struct.outputs = len(lists.tables["rows"]), lists.chunks, link.outputs
        struct.weight, struct.bias = next(starts), next(starts) if link.bias else -1
        struct.activation, struct.slope = link.activation, link.slope
    state = [tensor.data_ptr() for name, tensor in member.values.items() if name != "weights"]
    first, second = [*state, None, None][:2]
    member.struct = MemberC(
        ctypes.addressof(layers), member.values["weights"].data_ptr(), first, second, member.counts.data_ptr(),
        ends.data_ptr(), len(layers), len(sizes),
    )  # fmt: skip
    member.held = [layers, ends]
