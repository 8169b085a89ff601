"""What one member is trained for: its own classes against all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunelle.data.groups import Balanced, Regrouped, labels_of, own_targets
from prunelle.data.task import Task
from prunelle.errors import DataError
from prunelle.files import sha256
from prunelle.models.members import covers, num_outputs
from prunelle.train.losses import both_sides


def member_task(task: Task, group: Sequence[int]) -> Task:
    """Train balanced, half own classes and half others; val and test whole, scored as if they were balanced too.

    Targets: 0 = none of mine, then 1, 2, ... in the group's order; of a group of all classes the task as it is. Raises
    DataError for a split without such classes.
    """
    own = tuple(group)
    if covers(own, task.num_classes):
        return task
    names = ("none of mine", *(task.class_names[number] for number in own))
    share = float((own_targets(labels_of(task.val), own) > 0).double().mean())
    if not 0 < share < 1:
        raise DataError(
            f"groups: the validation split holds {share:.0%} of classes {list(own)}; regroup or split anew."
        )
    return replace(
        task,
        train=Balanced(task.train, own),
        val=Regrouped(task.val, own),
        test=Regrouped(task.test, own),
        num_classes=num_outputs(own),
        class_names=names[-num_outputs(own) :],
        fingerprint=sha256(f"{task.fingerprint} classes {list(own)}".encode()),
        loss=MemberLoss(len(own)),
        metric=BalancedCorrect(share, len(own)),
    )


def member_targets(labels: Tensor, group: Sequence[int], num_classes: int) -> Tensor:
    """(N,) int64 of a member, from the labels of the whole network; of a group of all classes the labels."""
    return labels if covers(group, num_classes) else own_targets(labels, group)


def member_columns(outputs: Tensor, num_own: int) -> Tensor:
    """(N, k + 1) "none of mine" and own classes, of a member's outputs, of a wide one's, or of (N, 1) log-odds."""
    return both_sides(outputs) if outputs.shape[1] == 1 else outputs[:, : num_own + 1]


@dataclass(frozen=True)
class MemberLoss:
    """Mean cross entropy (); of log-odds that is the binary one. num_own: classes of the member."""

    num_own: int

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs: as in member_columns; targets: (N,) of the member."""
        return cross_entropy(member_columns(outputs, self.num_own), targets)


@dataclass(frozen=True)
class BalancedCorrect:
    """Right answers, so weighted that own classes and others each count half of the mean over a split.

    own: share of the split's examples that are of own classes. num_own: classes of the member. Returns (N,), 0 or
    1 / (2 share of the example's side).
    """

    own: float
    num_own: int

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs: as in member_columns; targets: (N,) of the member."""
        right = (member_columns(outputs, self.num_own).argmax(1) == targets).float()
        return right * torch.where(targets > 0, 0.5 / self.own, 0.5 / (1 - self.own))
