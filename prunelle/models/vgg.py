"""VGG with batch norm, for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from prunelle.models.init import he_init_
from prunelle.models.shapes import check_shape

Stages = tuple[tuple[int, ...], ...]

_VGG16: Stages = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_VGG19: Stages = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


def _vgg(name: str, stages: Stages, input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    check_shape(name, input_shape, num_classes, smallest=32)
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for widths in stages:
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(channels, num_classes),
        )
    )
    he_init_(model)
    return model


def vgg16_bn_cifar(*, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """13 convolutions and one linear layer: 14.72 M parameters.

    Source: arXiv:1409.1556, configuration D; batch norm instead of convolution biases, one linear layer instead of
    three, as the pruning papers have it on CIFAR.
    """
    return _vgg("vgg16_bn_cifar", _VGG16, input_shape, num_classes)


def vgg19_bn_cifar(*, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """16 convolutions and one linear layer: 20.04 M parameters. Source: as vgg16_bn_cifar, configuration E."""
    return _vgg("vgg19_bn_cifar", _VGG19, input_shape, num_classes)
