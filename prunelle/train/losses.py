"""What training minimises: the task's loss, smoothed labels, a teacher's outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.train.settings import TrainSettings

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(inputs, outputs, targets) -> mean loss, a scalar."""


@dataclass(frozen=True)
class Plain:
    """The task's own loss, blind to the inputs."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs, targets)


@dataclass(frozen=True)
class SmoothedLabels:
    """Cross entropy against (1 - smoothing) on the target and the rest spread over all classes.

    Source: Szegedy 2015, arXiv:1512.00567 section 7.
    """

    smoothing: float

    def __call__(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs, targets, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class Distillation:
    """weight * T^2 * KL(teacher || student at temperature T) + (1 - weight) * base; the mean of KL over views.

    teacher: an nn.Module in eval mode that reads the same inputs; its weights get no gradient. Outputs of one column
    are log-odds, on both sides.
    Source: Hinton 2015, arXiv:1503.02531 section 2; T^2 keeps the gradient's size.
    """

    base: Objective
    teacher: nn.Module
    temperature: float = 4.0
    weight: float = 0.9
    views: tuple[tuple[int, ...], ...] = ()

    def __call__(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(inputs)
        apart = divergence(outputs, wanted, self.temperature, self.views)
        return self.weight * apart + (1 - self.weight) * self.base(inputs, outputs, targets)


@dataclass(frozen=True)
class ToldDistillation:
    """`Distillation` by a teacher that was asked beforehand: targets (N, 1 + outputs) hold the label, then its
    outputs."""

    base: Objective
    temperature: float = 4.0
    weight: float = 0.9
    views: tuple[tuple[int, ...], ...] = ()

    def __call__(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        apart = divergence(outputs, targets[:, 1:], self.temperature, self.views)
        return self.weight * apart + (1 - self.weight) * self.base(inputs, outputs, targets[:, 0].long())


def divergence(outputs: Tensor, wanted: Tensor, temperature: float, views: tuple[tuple[int, ...], ...] = ()) -> Tensor:
    """T^2 * KL, a scalar; the mean over views, where there are any. outputs, wanted: (N, outputs)."""
    if views:
        return torch.stack([divergence(outputs[:, view], wanted[:, view], temperature) for view in views]).mean()
    soft = log_softmax(both_sides(wanted) / temperature, dim=1)
    given = log_softmax(both_sides(outputs) / temperature, dim=1)
    return kl_div(given, soft, reduction="batchmean", log_target=True) * temperature**2


def both_sides(outputs: Tensor) -> Tensor:
    """(N, 1) log-odds as the two columns whose softmax has them; any other outputs as they are.

    >>> both_sides(torch.tensor([[3.0]])).tolist()
    [[0.0, 3.0]]
    """
    return torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1:] == (1,) else outputs


def objective(task: Task, settings: TrainSettings, device: torch.device) -> Objective:
    """The loss that the settings ask for. Raises SettingError where smoothed labels would replace the task's own."""
    if settings.label_smoothing and task.loss is not cross_entropy:
        raise SettingError(
            f"training: label_smoothing is for cross entropy, {task.name} has a loss of its own; pass 0."
        )
    base: Objective = SmoothedLabels(settings.label_smoothing) if settings.label_smoothing else Plain(task.loss)
    if settings.teacher is None:
        return base
    told = settings.teacher
    if told.model is None:
        return ToldDistillation(base, told.temperature, told.weight, told.views)
    teacher = copy.deepcopy(told.model).to(device).eval()
    return Distillation(base, teacher, told.temperature, told.weight, told.views)
