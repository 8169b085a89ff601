"""Small networks of every family, a task of their shape, and members of them."""

from __future__ import annotations

import torch
from graph.randomised import randomise_
from torch import nn

from prunelle.classwise.cutting import Cutting, Evidence, MemberPlan, plan_member
from prunelle.classwise.head import member_of
from prunelle.classwise.look import Look, look_at
from prunelle.classwise.member import head_batches
from prunelle.classwise.member_task import member_task
from prunelle.data.arrays import ArraySplit
from prunelle.data.task import Preprocessing, Task
from prunelle.models.mobilenet import MobileNetV2
from prunelle.models.resnet import CifarResNet
from prunelle.models.shufflenet import ShuffleNetV2
from prunelle.models.vgg import _vgg

CLASSES = 6


def shufflenet() -> nn.Module:
    """Two stages instead of three, of two units each: in the whole network the trace alone takes seconds."""
    model = ShuffleNetV2(3, CLASSES)
    model.stage2, model.stage3 = model._stage(24, 24, 2), model._stage(24, 32, 2)
    model.stage4 = nn.Sequential()
    model.conv5 = nn.Sequential(nn.Conv2d(32, 40, 1, bias=False), nn.BatchNorm2d(40), nn.ReLU())
    model.fc = nn.Linear(40, CLASSES)
    return model


FAMILIES = {
    "vgg": (lambda: _vgg("small", ((8, 8), (12, 12), (16,)), (3, 32, 32), CLASSES), 32),
    "resnet": (lambda: CifarResNet(1, 3, CLASSES), 16),
    "mobilenet_v2": (
        lambda: MobileNetV2(((1, 8, 1, 1), (4, 12, 2, 2), (4, 16, 2, 2)), 1, 3, CLASSES),
        16,
    ),
    "shufflenet_v2": (shufflenet, 32),
}
"""Builders with the families' own blocks, and the side of their images."""


def task_of(side: int, num: int = 48, channels: int = 3) -> Task:
    """Random images that lean towards a colour and a side by class."""
    draws = torch.Generator().manual_seed(0)

    def part(count: int) -> ArraySplit:
        labels = torch.arange(count) % CLASSES
        images = torch.rand(count, channels, side, side, generator=draws) * 160
        images[torch.arange(count), labels % channels] += 40
        images[labels >= channels, :, : side // 2] += 50
        return ArraySplit(images.to(torch.uint8), labels, scaling)

    scaling = Preprocessing((0.4,) * channels, (0.25,) * channels)
    return Task(
        name="colours",
        train=part(num),
        val=part(24),
        test=part(24),
        input_shape=(channels, side, side),
        num_classes=CLASSES,
        preprocessing=scaling,
        class_names=tuple("abcdef"),
        fingerprint="colours",
    )


def family(name: str, seed: int = 0) -> tuple[nn.Module, Task, Look]:
    """A network with values in every tensor, its task, and what was seen of it."""
    make, side = FAMILIES[name]
    model = randomise_(make(), torch.Generator().manual_seed(seed))
    task = task_of(side)
    return model, task, look_at(model, task, num_images=48)


def planned(
    model: nn.Module, task: Task, look: Look, group: tuple[int, ...], cutting: Cutting
) -> tuple[nn.Module, MemberPlan]:
    """The member before it is cut, and what goes."""
    member = member_of(model, look.head, group, head_batches(task, 0))
    evidence = Evidence(look.activations, look.macs)
    return member, plan_member(member, member_task(task, group), group, evidence, cutting)
