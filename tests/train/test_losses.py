import math
from dataclasses import replace

import pytest
import torch
from tiny import conv_net, mlp, small_task, state_of
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.errors import SettingError
from prunelle.train.losses import Distillation, Plain, SmoothedLabels, objective
from prunelle.train.settings import Teacher, TrainSettings

OUTPUTS = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
TARGETS = torch.tensor([1, 1])
CPU = torch.device("cpu")


def test_plain_is_the_tasks_loss():
    # probabilities .25/.75 and .75/.25 of the targets: (log 4/3 + log 4) / 2
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert Plain(cross_entropy)(torch.zeros(2), OUTPUTS, TARGETS).item() == pytest.approx(expected)


def test_smoothed_labels_by_hand():
    # 0.2 spread over both classes: 0.9 on the target and 0.1 on the other
    first = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)
    second = -0.9 * math.log(0.25) - 0.1 * math.log(0.75)
    found = SmoothedLabels(0.2)(torch.zeros(2), OUTPUTS, TARGETS).item()
    assert found == pytest.approx((first + second) / 2)
    assert SmoothedLabels(0.0)(torch.zeros(2), OUTPUTS, TARGETS).item() == pytest.approx(
        cross_entropy(OUTPUTS, TARGETS).item()
    )


def test_distillation_by_hand():
    teacher = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        teacher.weight.copy_(torch.eye(2))
    inputs = torch.tensor([[2 * math.log(4), 0.0]])  # at temperature 2: odds of 4, probabilities .8 and .2
    outputs = torch.zeros(1, 2)  # .5 and .5
    distance = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    expected = 0.75 * 4 * distance + 0.25 * math.log(2)
    loss = Distillation(Plain(cross_entropy), teacher, temperature=2.0, weight=0.75)
    assert loss(inputs, outputs, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn():
    model = mlp()
    inputs = torch.randn(4, 2, 6, 6)
    loss = Distillation(Plain(cross_entropy), model, weight=1.0)
    assert loss(inputs, model(inputs), torch.zeros(4, dtype=torch.int64)).item() == pytest.approx(0.0, abs=1e-6)


def test_views_are_compared_each_for_itself():
    """The mean over two pairs of columns of what each pair alone gives; a column in no view does not matter."""
    outputs = torch.tensor([[1.0, -1.0, 0.5, 7.0]])
    teacher = nn.Identity()
    inputs = torch.tensor([[0.0, 2.0, -1.0, 3.0]])
    views = ((0, 1), (1, 2))
    told = Distillation(Plain(cross_entropy), teacher, weight=1.0, views=views)(inputs, outputs, torch.tensor([0]))
    alone = Distillation(Plain(cross_entropy), teacher, weight=1.0)
    each = [alone(inputs[:, view], outputs[:, view], torch.tensor([0])) for view in views]
    assert torch.allclose(told, sum(each) / 2)


def test_the_teacher_gets_no_gradient_and_is_left_as_it_was():
    teacher = conv_net().train()
    before = state_of(teacher)
    settings = TrainSettings(1, 0.1, teacher=Teacher(teacher, 3.0, 0.5), label_smoothing=0.1)
    found = objective(small_task(), settings, CPU)
    assert found == replace(found, base=SmoothedLabels(0.1), temperature=3.0, weight=0.5)
    inputs = torch.randn(4, 2, 6, 6)
    outputs = torch.randn(4, 3, requires_grad=True)
    found(inputs, outputs, torch.zeros(4, dtype=torch.int64)).backward()
    assert outputs.grad is not None
    assert all(p.grad is None for p in found.teacher.parameters())
    assert teacher.training and all(torch.equal(t, before[name]) for name, t in teacher.state_dict().items())
    assert not found.teacher.training


def test_objective_without_a_teacher():
    task = small_task()
    assert objective(task, TrainSettings(1, 0.1), CPU) == Plain(task.loss)
    assert objective(task, TrainSettings(1, 0.1, label_smoothing=0.2), CPU) == SmoothedLabels(0.2)


def test_smoothed_labels_do_not_replace_a_loss_of_the_tasks_own():
    task = replace(small_task(), loss=nn.MSELoss())
    assert objective(task, TrainSettings(1, 0.1), CPU) == Plain(task.loss)
    with pytest.raises(SettingError, match="label_smoothing is for cross entropy, small has a loss of its own; pass 0"):
        objective(task, TrainSettings(1, 0.1, label_smoothing=0.2), CPU)
