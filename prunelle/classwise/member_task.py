"""What one member is trained for: its own classes against all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from prunelle.data.groups import Balanced, Regrouped, labels_of, own_targets
from prunelle.data.task import Task
from prunelle.errors import DataError
from prunelle.files import sha256
from prunelle.models.members import covers, num_outputs


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
        loss=member_loss,
        metric=BalancedCorrect(share),
    )


def member_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy (), of a single column's log-odds binary. outputs: (N, k + 1) or (N, 1); targets: (N,)."""
    if outputs.shape[1] == 1:
        return binary_cross_entropy_with_logits(outputs[:, 0], (targets > 0).to(outputs.dtype))
    return cross_entropy(outputs, targets)


@dataclass(frozen=True)
class BalancedCorrect:
    """Right answers, so weighted that own classes and others each count half of the mean over a split.

    own: share of the split's examples that are of own classes. Returns (N,), 0 or 1 / (2 share of the example's side).
    """

    own: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs: (N, k + 1), or (N, 1) log-odds; targets: (N,) of the member."""
        answers = (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)
        right = (answers == targets).float()
        return right * torch.where(targets > 0, 0.5 / self.own, 0.5 / (1 - self.own))
