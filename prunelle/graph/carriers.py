"""Where a module's input goes while it runs: which tensors are that input plus something that was computed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

ADDS = {aten.add, aten.add_}
VIEWS = {
    aten.view,
    aten._unsafe_view,
    aten.reshape,
    aten.permute,
    aten.transpose,
    aten.t,
    aten.alias,
    aten.detach,
    aten.clone,
    aten._to_copy,
    aten.squeeze,
    aten.unsqueeze,
}
"""What only arranges values anew; whether the order comes out as it went in is seen when the block is tried."""
ACTIVATIONS = {
    *(aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_, aten.clamp),
    *(aten.gelu, aten.gelu_, aten.silu, aten.silu_, aten.hardswish, aten.hardswish_, aten.elu, aten.elu_),
}


@dataclass(frozen=True)
class Carrier:
    """What a tensor is where it is the frame's input plus something. sides: number of the sum -> which operand was the
    input. acts: activations it passed."""

    sides: dict[int, int]
    acts: tuple[Callable[[Tensor], Tensor], ...] = ()


@dataclass
class Frame:
    """One call of one module with one tensor. Tensors are told apart by id, hence held in `derived`."""

    path: str
    before: Tensor  # a copy: what runs may write into its input
    first_sum: int
    carriers: dict[int, Carrier]
    derived: dict[int, Tensor]
    linked: dict[int, list[str]] = field(default_factory=dict)
    links: list[tuple[str, int, int]] = field(default_factory=list)

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], number: int, result: Any) -> None:
        """Take note of one operator; `number` of the sums came before it."""
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(id(value) in self.derived for value in inputs):
            return
        packet, made = getattr(func, "_overloadpacket", func), None
        if is_sum(func, args, kwargs):
            made = self.sum(number, args, result)
        elif args and id(args[0]) in self.carriers:
            carrier = self.carriers[id(args[0])]
            if packet in VIEWS and result.numel() == args[0].numel():
                made = carrier
            elif packet in ACTIVATIONS:
                act = getattr(aten, packet.__name__.removesuffix("_"))
                made = Carrier(carrier.sides, (*carrier.acts, lambda x: act(x, *args[1:], **kwargs)))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self.derived[id(value)] = value
                self.carriers.pop(id(value), None)  # where the operator wrote into it
                self.linked.pop(id(value), None)
                if made is not None:
                    self.carriers[id(value)] = made

    def sum(self, number: int, args: tuple[Any, ...], result: Tensor) -> Carrier | None:
        """A sum carries the input on where one side did and the other was computed from it."""
        for side in (0, 1):
            mine, other = args[side], args[1 - side]
            if id(other) not in self.derived or id(other) in self.carriers or mine.shape != result.shape:
                continue
            if id(other) not in self.linked:
                self.links += [(path, number - self.first_sum, side) for path in self.linked.get(id(mine), [])]
            if id(mine) in self.carriers:
                carrier = self.carriers[id(mine)]
                return Carrier({**carrier.sides, number - self.first_sum: side}, carrier.acts)
        return None


def is_sum(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operator adds two tensors, neither of them scaled."""
    packet = getattr(func, "_overloadpacket", None)
    return packet in ADDS and not kwargs and len(args) == 2 and all(isinstance(one, Tensor) for one in args)
