"""ShuffleNetV2 at width 1.0; parameter names are torchvision's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunelle.models.init import he_init_
from prunelle.models.shapes import check_shape


def _conv_bn_relu(channels_in: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def _depthwise_bn(channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _shuffle(x: Tensor) -> Tensor:
    """(N, C, H, W) of two halves -> their channels taken in turn."""
    count, channels, height, width = x.shape
    return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, channels, height, width)


class ShuffleUnit(nn.Module):
    """Half of the channels pass by, half go through 1x1, depthwise 3x3, 1x1; with stride 2 both halves see all."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(*_depthwise_bn(channels_in, stride), *_conv_bn_relu(channels_in, half, 1))
        self.branch2 = nn.Sequential(
            *_conv_bn_relu(channels_in if stride > 1 else half, half, 1),
            *_depthwise_bn(half, stride),
            *_conv_bn_relu(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            return _shuffle(torch.cat((self.branch1(x), self.branch2(x)), dim=1))
        passed, worked = x.chunk(2, dim=1)
        return _shuffle(torch.cat((passed, self.branch2(worked)), dim=1))


class ShuffleNetV2(nn.Module):
    """Stem, three stages of units, 1x1 convolution, linear layer. channels_in: of the images."""

    def __init__(self, channels_in: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_bn_relu(channels_in, 24, 3, stride=2))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2 = self._stage(24, 116, 4)
        self.stage3 = self._stage(116, 232, 8)
        self.stage4 = self._stage(232, 464, 4)
        self.conv5 = nn.Sequential(*_conv_bn_relu(464, 1024, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, num_classes)
        he_init_(self)

    @staticmethod
    def _stage(channels_in: int, channels: int, units: int) -> nn.Sequential:
        return nn.Sequential(
            ShuffleUnit(channels_in, channels, 2), *(ShuffleUnit(channels, channels, 1) for _ in range(units - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        return self.fc(self.avgpool(x).flatten(1))


def shufflenet_v2(*, input_shape: tuple[int, int, int] = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """Width 1.0: 2.28 M parameters, 0.1448 GMACs at 224. Source: arXiv:1807.11164, table 5."""
    check_shape("shufflenet_v2", input_shape, num_classes)
    return ShuffleNetV2(input_shape[0], num_classes)
