"""One training in memory when only its kept weights are there: their values side by side."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunelle.tickets.sparse_chain import Link
from prunelle.tickets.sparse_library import LayerC, MemberC
from prunelle.tickets.sparse_lists import Lists, alive_outputs, conv_lists_of, lists_of
from prunelle.tickets.sparse_sizes import Size
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
    links: tuple[Link, ...],
    sizes: Sequence[Size],
    start: Start,
    optimizer: Optimizer,
    names: Sequence[str],
    vector_bytes: int,
) -> SparseMember:
    """A member that stands where `start` says. names: of the weights in the order of the optimizer's state."""
    masks = [start.kept[k.weight].cpu() if k.weight in start.kept else torch.ones(k.shape) > 0 for k in links]
    alive = alive_outputs(masks)
    lists = []
    for number, (mask, size) in enumerate(zip(masks, sizes, strict=True)):
        reads = torch.empty(0)
        if number:
            before = alive[number - 1]
            reads = before.repeat_interleave(size.inputs // len(before)).nonzero()[:, 0]
        lists.append(
            conv_lists_of(mask, alive[number], reads, size.image[1:])
            if mask.ndim == 4
            else lists_of(mask, alive[number], reads, vector_bytes)
        )
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
    connect_(member, sizes)
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


def connect_(member: SparseMember, sizes: Sequence[Size]) -> None:
    """Write the member's struct."""
    counts = sizes_of(member.links, member.lists)
    ends = torch.tensor(counts).cumsum(0).int()
    starts = iter([0, *ends.tolist()])
    layers = (LayerC * len(member.links))()
    for link, lists, size, struct in zip(member.links, member.lists, sizes, layers, strict=True):
        for name, table in lists.tables.items():
            setattr(struct, name, table.data_ptr())
        struct.num_rows, struct.num_reads = len(lists.tables["rows"]), len(lists.tables["reads"])
        struct.chunks, struct.outputs, struct.places = lists.chunks, link.outputs, size.outputs
        struct.weight, struct.bias = next(starts), next(starts) if link.bias else -1
        struct.activation, struct.slope = link.activation, link.slope
        if link.convolves:
            struct.width, struct.high, struct.wide = size.image[2], *size.plane
            struct.pool, struct.pooled_high, struct.pooled_wide = link.pool, *size.pooled
            struct.most = int(lists.tables["first"].diff().max())
    state = [tensor.data_ptr() for name, tensor in member.values.items() if name != "weights"]
    first, second = [*state, None, None][:2]
    member.struct = MemberC(
        ctypes.addressof(layers), member.values["weights"].data_ptr(), first, second, member.counts.data_ptr(),
        ends.data_ptr(), len(layers), len(counts),
    )  # fmt: skip
    member.held = [layers, ends]
