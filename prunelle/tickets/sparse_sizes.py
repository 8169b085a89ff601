"""How large what each layer of a chain reads and gives is, and how much room a step needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from prunelle.errors import ShapeError
from prunelle.tickets.sparse_chain import Link


@dataclass(frozen=True)
class Size:
    """image: (channels, height, width) read, (numbers, 1, 1) by a linear layer. plane: (height, width) that a
    convolution gives, pooled: after its maximum. outputs: numbers given for an image."""

    image: tuple[int, int, int]
    plane: tuple[int, int]
    pooled: tuple[int, int]
    outputs: int

    @property
    def inputs(self) -> int:
        return prod(self.image)


def sizes_of_chain(links: Sequence[Link], input_shape: tuple[int, int, int]) -> list[Size]:
    """One a layer. Raises ShapeError where an image of this shape does not fit.

    >>> sizes_of_chain([Link("a", None, (20, 1, 5, 5), pool=2), Link("b", None, (10, 2880))], (1, 28, 28))[0].outputs
    2880
    """
    sizes: list[Size] = []
    image = input_shape
    for link in links:
        wanted = link.shape[1]
        given = image[0] if link.convolves else prod(image)
        if wanted != given:
            raise ShapeError(
                f"{link.weight}: reads {wanted} numbers or channels, an image of {input_shape} gives {given}; pass the "
                "shape that the network was made for."
            )
        if not link.convolves:
            sizes.append(Size((given, 1, 1), (1, 1), (1, 1), link.outputs))
            image = (link.outputs, 1, 1)
            continue
        high, wide = (side - kernel + 1 for side, kernel in zip(image[1:], link.shape[2:], strict=True))
        more = link.pool - 1 if link.ceil else 0
        tall, broad = (high + more) // link.pool, (wide + more) // link.pool
        if min(high, wide, tall, broad) < 1:
            raise ShapeError(f"{link.weight}: nothing is left of an image of {input_shape} there; pass a larger one.")
        sizes.append(Size(image, (high, wide), (tall, broad), link.outputs * tall * broad))
        image = (link.outputs, tall, broad)
    return sizes


def vectors_needed(links: Sequence[Link], sizes: Sequence[Size]) -> int:
    """Rows of a batch that the C text needs room for, at most."""
    own = sum(size.outputs + -(-size.outputs // 4) + 1 for size in sizes)
    convolutions = [(link, size) for link, size in zip(links, sizes, strict=True) if link.convolves]
    scratch = [prod(size.plane) + prod(link.shape[1:]) + size.inputs + size.outputs for link, size in convolutions]
    return sizes[0].inputs + own + max(scratch, default=0)
