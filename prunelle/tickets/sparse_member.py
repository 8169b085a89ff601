"""One training in memory when only its kept weights are there: lists of them, and their values side by side."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunelle.tickets.sparse_chain import Link
from prunelle.tickets.sparse_library import LayerC, MemberC
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import Optimizer, State


@dataclass
class SparseMember:
    """links: the network. masks: (outputs, inputs) bool of each layer. values: what the optimizer keeps and `weights`,
    each all kept numbers side by side, layer after layer, a layer's bias behind its weights. counts: of steps, one a
    tensor. struct: the same for C. held: what the struct points to."""

    links: tuple[Link, ...]
    masks: list[Tensor]
    values: dict[str, Tensor]
    counts: Tensor
    struct: MemberC = field(default_factory=MemberC)
    held: list[object] = field(default_factory=list)

    def spread(self, quantity: str) -> dict[str, Tensor]:
        """Whole tensors of the values by the weights' names, 0 where not kept."""
        found: dict[str, Tensor] = {}
        pieces = iter(self.values[quantity].split(sizes_of(self.links, self.masks)))
        for link, mask in zip(self.links, self.masks, strict=True):
            found[link.weight] = torch.zeros(mask.shape).masked_scatter_(mask, next(pieces))
            if link.bias:
                found[link.bias] = next(pieces).clone()
        return found


def begin_member(links: tuple[Link, ...], start: Start, optimizer: Optimizer, names: Sequence[str]) -> SparseMember:
    """A member that stands where `start` says. names: of the weights in the order of the optimizer's state."""
    masks = [start.kept[k.weight] if k.weight in start.kept else torch.ones(k.outputs, k.inputs) > 0 for k in links]
    masks = [mask.cpu() for mask in masks]
    values = {"weights": gathered(links, masks, start.tensors)}
    fresh = optimizer.init([values["weights"]])
    values |= {quantity: torch.zeros_like(values["weights"]) for quantity in fresh if quantity != "count"}
    counts = torch.zeros(len(sizes_of(links, masks)))
    for quantity, tensors in start.optimizer.items():
        given = dict(zip(names, tensors, strict=True))
        if quantity == "count":
            counts = torch.stack([given[n].float().cpu().reshape(()) for k in links for n in (k.weight, k.bias) if n])
        else:
            values[quantity] = gathered(links, masks, given)
    member = SparseMember(links, masks, values, counts)
    connect_(member)
    return member


def gathered(links: Sequence[Link], masks: Sequence[Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
    """The kept numbers of whole tensors side by side, float32, a copy."""
    pieces = []
    for link, mask in zip(links, masks, strict=True):
        pieces.append(tensors[link.weight].detach().cpu()[mask])
        if link.bias:
            pieces.append(tensors[link.bias].detach().cpu())
    return torch.cat(pieces).float()


def sizes_of(links: Sequence[Link], masks: Sequence[Tensor]) -> list[int]:
    """How many kept numbers each tensor has, in the order they stand."""
    sizes = []
    for link, mask in zip(links, masks, strict=True):
        sizes += [int(mask.sum())] + ([link.outputs] if link.bias else [])
    return sizes


def connect_(member: SparseMember) -> None:
    """Write the member's struct."""
    sizes = sizes_of(member.links, member.masks)
    ends = torch.tensor(sizes).cumsum(0).int()
    starts = iter([0, *ends.tolist()])
    layers = (LayerC * len(member.links))()
    alive = alive_rows(member.masks)
    for number, (link, mask, struct) in enumerate(zip(member.links, member.masks, layers, strict=True)):
        tables = tables_of(mask, alive[number], columns=number > 0)
        for name, table in tables.items():
            setattr(struct, name, table.data_ptr())
        struct.num_rows, struct.outputs = len(tables["rows"]), link.outputs
        struct.weight, struct.bias = next(starts), next(starts) if link.bias else -1
        struct.activation, struct.slope = link.activation, link.slope
        member.held += tables.values()
    state = [tensor.data_ptr() for name, tensor in member.values.items() if name != "weights"]
    first, second = [*state, None, None][:2]
    member.struct = MemberC(
        ctypes.addressof(layers), member.values["weights"].data_ptr(), first, second, member.counts.data_ptr(),
        ends.data_ptr(), len(layers), len(sizes),
    )  # fmt: skip
    member.held += [layers, ends]


def alive_rows(masks: Sequence[Tensor]) -> list[Tensor]:
    """(outputs,) bool of each layer: whether the network's outputs depend on it. The gradient of all else is 0."""
    alive = [torch.ones(len(masks[-1]), dtype=torch.bool)]
    for mask in reversed(masks[1:]):
        alive.insert(0, mask[alive[0]].any(dim=0))
    return alive


def tables_of(mask: Tensor, alive: Tensor, columns: bool) -> dict[str, Tensor]:
    """The lists of a layer as int32, named as in the C text. mask: (outputs, inputs). alive: (outputs,); only those are
    listed input by input. columns: whether that is wanted at all."""
    rows, inputs = mask.nonzero(as_tuple=True)
    tables = {"first": ends_of(mask.sum(dim=1)), "input": inputs, "rows": alive.nonzero()[:, 0]}
    if columns:
        places = torch.full(mask.shape, -1)
        places[rows, inputs] = torch.arange(len(rows))
        listed = (mask & alive[:, None]).T
        where, outputs = listed.nonzero(as_tuple=True)
        tables |= {"column": ends_of(listed.sum(dim=1)), "place": places[outputs, where], "output": outputs}
    return {name: table.int().contiguous() for name, table in tables.items()}


def ends_of(counts: Tensor) -> Tensor:
    """0 and the running sums of (n,) counts.

    >>> ends_of(torch.tensor([2, 0, 3]))
    tensor([0, 2, 2, 5])
    """
    return torch.cat([torch.zeros(1, dtype=counts.dtype), counts.cumsum(0)])


def state_of(member: SparseMember, names: Sequence[str]) -> State:
    """The optimizer's state as whole tensors, in the order of `names`."""
    found: State = {}
    for quantity in member.values:
        if quantity != "weights":
            whole = member.spread(quantity)
            found[quantity] = [whole[name] for name in names]
    if "exp_avg" in found:
        order = [name for link in member.links for name in (link.weight, link.bias) if name]
        found["count"] = [member.counts[order.index(name)].clone() for name in names]
    return found
