"""Each member's loss over its own examples, all from one evaluation where that pays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, nll_loss

from prunelle.train.losses import Distillation, Objective, Plain, SmoothedLabels

IGNORED = -100
"""A target that cross entropy leaves out of its mean."""


def member_losses(objective: Objective, inputs: Tensor, outputs: Tensor, targets: Tensor, members: int) -> Tensor:
    """What `objective` gives for each member alone.

    inputs, outputs, targets: (members * N, ...), member 0's first. inputs: (N, ...) where all members read the same.
    Returns (members,). An objective that is not known here is called once a member.
    """
    if isinstance(objective, Distillation):
        return distillation(objective, inputs, outputs, targets, members)
    plain = isinstance(objective, Plain) and objective.loss is cross_entropy
    if outputs.is_cuda and (plain or isinstance(objective, SmoothedLabels)):
        return entropies(outputs, targets, members, getattr(objective, "smoothing", 0.0))
    if plain and not targets.is_floating_point():
        parts = zip(log_softmax(outputs, 1).chunk(members), targets.chunk(members), strict=True)
        return torch.stack([nll_loss(own, wanted) for own, wanted in parts])
    read = [inputs] * members if len(inputs) != len(outputs) else inputs.chunk(members)
    each = zip(read, outputs.chunk(members), targets.chunk(members), strict=True)
    return torch.stack([objective(own, given, wanted) for own, given, wanted in each])


def entropies(outputs: Tensor, targets: Tensor, members: int, smoothing: float) -> Tensor:
    """Each member's mean cross entropy without a call a member, which a GPU would wait for; rounded otherwise than
    `torch.nn.functional.cross_entropy`."""
    each = cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing).view(members, -1)
    counted = targets.view(members, -1) != IGNORED if not targets.is_floating_point() else torch.ones_like(each)
    return each.sum(1) / counted.sum(1)


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
