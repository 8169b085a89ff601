"""The kept weights of one layer as lists: in which order they stand, what each reads, and the same input by input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

CHUNK_BYTES = 24 * 1024
"""Of a chunk of inputs: with the row that is summed up it fits a first-level cache of 32 KiB."""
ROW_VECTORS = 8
"""Of a row that C takes at a time."""
FEWEST = 3.5
"""Kept weights an output has in a chunk from which on chunks pay: each costs reading and writing a row of outputs, as
much as two weights do. At 20 % kept they make a layer 1.4 times as fast."""


@dataclass(frozen=True)
class Lists:
    """shape: of the whole weight. where: of each kept weight in its whole tensor, flat, in the order they stand.
    chunks: how many the inputs are taken in. tables: the lists of `layer` in the C text by its names, int32."""

    shape: tuple[int, ...]
    where: Tensor
    chunks: int
    tables: dict[str, Tensor]

    def gather(self, whole: Tensor) -> Tensor:
        """A whole tensor -> the kept ones side by side, float32, a copy."""
        return whole.detach().cpu().float().reshape(-1)[self.where.long()]

    def spread(self, kept: Tensor) -> Tensor:
        """The opposite, 0 where not kept."""
        whole = torch.zeros(self.shape)
        whole.view(-1)[self.where.long()] = kept
        return whole


def lists_of(mask: Tensor, alive: Tensor, reads: Tensor, vector_bytes: int) -> Lists:
    """Of a linear layer. mask: (outputs, inputs) bool, on the CPU. alive: (outputs,) as of `alive_outputs`; those alone
    are listed as rows and input by input. reads: the inputs that want a gradient."""
    outputs, inputs = mask.shape
    size = CHUNK_BYTES // (ROW_VECTORS * vector_bytes)
    if int(mask.sum()) < FEWEST * outputs * -(-inputs // size):
        size = inputs
    parts = mask.split(size, dim=1)
    places = torch.cat([part.nonzero() + torch.tensor([0, n * size]) for n, part in enumerate(parts)])
    where = places[:, 0] * inputs + places[:, 1]
    first = ends_of(torch.cat([part.sum(dim=1) for part in parts]))
    tables = {"first": first, "input": places[:, 1], "rows": alive.nonzero()[:, 0], "reads": reads}
    if len(reads):
        order = torch.empty(outputs * inputs, dtype=torch.int64)
        order[where] = torch.arange(len(where))
        listed = (mask & alive[:, None]).T
        reader, gives = listed.nonzero(as_tuple=True)
        tables |= {"column": ends_of(listed.sum(dim=1)), "place": order[gives * inputs + reader], "output": gives}
    return Lists((outputs, inputs), where.int(), len(parts), as_int32(tables))


def conv_lists_of(mask: Tensor, alive: Tensor, reads: Tensor, size: tuple[int, int]) -> Lists:
    """Of a convolution. mask: (outputs, channels, height, width). size: (height, width) of its input. reads: the rows
    of its input that want a gradient, a row being a pixel of a channel."""
    where = mask.flatten().nonzero()[:, 0]
    _, channel, y, x = mask.nonzero(as_tuple=True)
    first = ends_of(mask.flatten(1).sum(dim=1))
    inputs = (channel * size[0] + y) * size[1] + x
    tables = {"first": first, "input": inputs, "rows": alive.nonzero()[:, 0], "reads": reads}
    return Lists(tuple(mask.shape), where.int(), 1, as_int32(tables))


def as_int32(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: table.int().contiguous() for name, table in tables.items()}


def alive_outputs(masks: Sequence[Tensor]) -> list[Tensor]:
    """(outputs,) bool of each layer: whether the network's outputs depend on it. The gradient of all else is 0.

    masks: (outputs, inputs, ...) of each layer; where a channel is read pixel by pixel, its pixels stand together.

    >>> alive_outputs([torch.ones(2, 3) > 0, torch.tensor([[True, False]])])[0]
    tensor([ True, False])
    """
    alive = [torch.ones(len(masks[-1]), dtype=torch.bool)]
    for before, mask in reversed(list(pairwise(masks))):
        alive.insert(0, mask[alive[0]].any(dim=0).reshape(len(before), -1).any(dim=1))
    return alive


def ends_of(counts: Tensor) -> Tensor:
    """0 and the running sums of (n,) counts.

    >>> ends_of(torch.tensor([2, 0, 3]))
    tensor([0, 2, 2, 5])
    """
    return torch.cat([torch.zeros(1, dtype=counts.dtype), counts.cumsum(0)])
