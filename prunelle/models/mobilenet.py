"""MobileNetV2, for ImageNet and for small images; parameter names are torchvision's."""

from __future__ import annotations

from torch import Tensor, nn

from prunelle.models.init import he_init_
from prunelle.models.names import Shape
from prunelle.models.shapes import check_shape

Stage = tuple[int, int, int, int]
"""(expansion, channels out, number of blocks, stride of the first)."""

_IMAGENET: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_CIFAR: tuple[Stage, ...] = (_IMAGENET[0], (6, 24, 2, 1), *_IMAGENET[2:])


def _conv_bn_relu(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU6())


class InvertedResidual(nn.Module):
    """1x1 up, depthwise 3x3, 1x1 down without ReLU; a shortcut where the shape stays."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_bn_relu(channels_in, hidden, 1)]
        layers += [
            _conv_bn_relu(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """stages: as `Stage` says. stem_stride: 2 for ImageNet, 1 for small images."""

    def __init__(self, stages: tuple[Stage, ...], stem_stride: int, channels_in: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn_relu(channels_in, 32, 3, stem_stride)]
        width = 32
        for expansion, channels, blocks, stride in stages:
            for block in range(blocks):
                layers.append(InvertedResidual(width, channels, stride if block == 0 else 1, expansion))
                width = channels
        layers.append(_conv_bn_relu(width, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
        he_init_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def mobilenet_v2(*, input_shape: Shape = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """Width 1.0: 3.50 M parameters, 0.3008 GMACs at 224. Source: arXiv:1801.04381, table 2."""
    check_shape("mobilenet_v2", input_shape, num_classes)
    return MobileNetV2(_IMAGENET, 2, input_shape[0], num_classes)


def mobilenet_v2_cifar(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """mobilenet_v2 with stride 1 in the stem and in the 24-channel stage, so that 32x32 ends at 4x4: 2.24 M at 10."""
    check_shape("mobilenet_v2_cifar", input_shape, num_classes)
    return MobileNetV2(_CIFAR, 1, input_shape[0], num_classes)
