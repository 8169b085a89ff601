"""The whole network as its member's teacher: what it says of the member's classes, and of all others together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prunelle.classwise.head import others
from prunelle.models.members import covers


class Merged(nn.Module):
    """The whole network with the outputs of a wide member (see head.wide_member_of) for the classes `group`. Final."""

    def __init__(self, whole: nn.Module, group: Sequence[int]) -> None:
        super().__init__()
        self.whole = whole
        self.group = tuple(group)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1 + classes); of a group of all classes (N, classes)."""
        return widened(self.whole(images).float(), self.group)


def widened(outputs: Tensor, group: Sequence[int]) -> Tensor:
    """Outputs (N, classes) of the whole network as a wide member has them: (N, 1 + classes), "none of mine", the
    group's classes, the others. A group of all classes has the outputs as they are."""
    if covers(group, outputs.shape[1]):
        return outputs
    rest = others(group, outputs.shape[1])
    none = outputs[:, rest].logsumexp(1, keepdim=True)
    return torch.cat([none, outputs[:, [*group, *rest]]], 1)


def compared(group: Sequence[int], num_classes: int) -> tuple[tuple[int, ...], ...]:
    """What of a wide member's outputs is compared with the teacher's: own classes and "none of mine"; and all classes.

    The second tells the trunk which other class an image looks like, which the first does not know.

    >>> compared((5, 7), 4)
    ((0, 1, 2), (1, 2, 3, 4))
    """
    if covers(group, num_classes):
        return ()
    return tuple(range(len(group) + 1)), tuple(range(1, num_classes + 1))
