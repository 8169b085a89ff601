"""Each member's loss over its own examples, all from one evaluation where that pays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, nll_loss

from prunelle.train.losses import Distillation, Objective, Plain, SmoothedLabels


def member_losses(objective: Objective, inputs: Tensor, outputs: Tensor, targets: Tensor, members: int) -> Tensor:
    """What `objective` gives for each member alone.

    inputs, outputs, targets: (members * N, ...), member 0's first. inputs: (N, ...) where all members read the same.
    Returns (members,). An objective that is not known here is called once a member.
    """
    if isinstance(objective, Distillation):
        return distillation(objective, inputs, outputs, targets, members)
    if isinstance(objective, Plain) and objective.loss is cross_entropy and not targets.is_floating_point():
        parts = zip(log_softmax(outputs, 1).chunk(members), targets.chunk(members), strict=True)
        return torch.stack([nll_loss(own, wanted) for own, wanted in parts])
    read = [inputs] * members if len(inputs) != len(outputs) else inputs.chunk(members)
    each = zip(read, outputs.chunk(members), targets.chunk(members), strict=True)
    return torch.stack([objective(own, given, wanted) for own, given, wanted in each])


def distillation(objective: Distillation, inputs: Tensor, outputs: Tensor, targets: Tensor, members: int) -> Tensor:
    """`Distillation` with the teacher asked once about each image that any member reads."""
    with torch.no_grad():
        wanted = log_softmax(objective.teacher(inputs) / objective.temperature, dim=1)
    if len(wanted) != len(outputs):
        wanted = wanted.repeat(members, *[1] * (wanted.ndim - 1))
    given = log_softmax(outputs / objective.temperature, dim=1)
    each = kl_div(given, wanted, reduction="none", log_target=True).view(members, -1).sum(1)
    distance = each * (objective.temperature**2 * members / len(outputs))
    rest = member_losses(objective.base, inputs, outputs, targets, members)
    return objective.weight * distance + (1 - objective.weight) * rest


def reads_inputs(objective: Objective) -> bool:
    """False where the objective is known to look at outputs and targets only."""
    return not isinstance(objective, Plain | SmoothedLabels)
