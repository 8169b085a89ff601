"""Residual networks: He's 6n+2 for CIFAR, and the ImageNet family with either stem."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from prunelle.models.init import he_init_
from prunelle.models.names import Shape
from prunelle.models.shapes import check_shape


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, with channels of 0 put around: option A. padding: how many (before, after)."""

    def __init__(self, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padding))


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut takes every second pixel and pads channels with 0."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.shortcut(x))


def _shortcut(channels_in: int, channels: int, stride: int) -> nn.Module:
    before, odd = divmod(channels - channels_in, 2)
    return PaddedShortcut(stride, (before, before + odd)) if stride > 1 or before + odd else nn.Identity()


class CifarResNet(nn.Module):
    """6n + 2 layers of 16, 32 and 64 channels. blocks: n, the number of blocks in each of the three stages."""

    def __init__(self, blocks: int, channels_in: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        he_init_(self)

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = PaddedBlock(channels_in, channels, stride)
        return nn.Sequential(first, *(PaddedBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, a 1x1 convolution on the shortcut where the shape changes."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _downsample(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which holds the stride), 1x1 to four times the width."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = _downsample(channels_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(x))


def _downsample(channels_in: int, channels: int, stride: int) -> nn.Module:
    """A module where nothing changes too, without weights, so that the link can be cut like any other."""
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class ResNet(nn.Module):
    """The ImageNet family; parameter names are torchvision's.

    block: BasicBlock or Bottleneck. depths: blocks in each of the four stages. small: a 3x3 stem of stride 1 and no
    max pool, for 32x32 images.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        channels_in: int,
        num_classes: int,
        small: bool,
    ) -> None:
        super().__init__()
        stem = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = nn.Conv2d(channels_in, 64, *stem, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = self._stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = self._stage(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = self._stage(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        he_init_(self)

    @staticmethod
    def _stage(
        block: type[BasicBlock] | type[Bottleneck], channels_in: int, width: int, depth: int, stride: int
    ) -> nn.Sequential:
        channels = width * block.expansion
        return nn.Sequential(block(channels_in, width, stride), *(block(channels, width, 1) for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _cifar(name: str, blocks: int, input_shape: Shape, num_classes: int) -> nn.Module:
    check_shape(name, input_shape, num_classes)
    return CifarResNet(blocks, input_shape[0], num_classes)


def resnet20(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """n = 3, 0.27 M parameters. Source: arXiv:1512.03385, section 4.2, option A (shortcuts without parameters)."""
    return _cifar("resnet20", 3, input_shape, num_classes)


def resnet32(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """n = 5, 0.46 M parameters. Source: as resnet20."""
    return _cifar("resnet32", 5, input_shape, num_classes)


def resnet44(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """n = 7, 0.66 M parameters. Source: as resnet20."""
    return _cifar("resnet44", 7, input_shape, num_classes)


def resnet56(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """n = 9, 0.85 M parameters. Source: as resnet20."""
    return _cifar("resnet56", 9, input_shape, num_classes)


def resnet110(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """n = 18, 1.7 M parameters. Source: as resnet20."""
    return _cifar("resnet110", 18, input_shape, num_classes)


def resnet18(*, input_shape: Shape = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """Basic blocks, 2-2-2-2, 11.69 M parameters. Source: arXiv:1512.03385, table 1."""
    check_shape("resnet18", input_shape, num_classes)
    return ResNet(BasicBlock, (2, 2, 2, 2), input_shape[0], num_classes, small=False)


def resnet50(*, input_shape: Shape = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """Bottlenecks, 3-4-6-3, 25.56 M parameters, 4.089 GMACs at 224.

    Source: arXiv:1512.03385, table 1; the stride is on the 3x3 convolution, as torchvision has it.
    """
    check_shape("resnet50", input_shape, num_classes)
    return ResNet(Bottleneck, (3, 4, 6, 3), input_shape[0], num_classes, small=False)


def resnet101(*, input_shape: Shape = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """Bottlenecks, 3-4-23-3, 44.55 M parameters. Source: as resnet50."""
    check_shape("resnet101", input_shape, num_classes)
    return ResNet(Bottleneck, (3, 4, 23, 3), input_shape[0], num_classes, small=False)


def resnet18_cifar(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """resnet18 with a 3x3 stem of stride 1 and no max pool: 11.17 M parameters at 10 classes."""
    check_shape("resnet18_cifar", input_shape, num_classes)
    return ResNet(BasicBlock, (2, 2, 2, 2), input_shape[0], num_classes, small=True)


def resnet50_cifar(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """resnet50 with a 3x3 stem of stride 1 and no max pool: 23.52 M parameters at 10 classes."""
    check_shape("resnet50_cifar", input_shape, num_classes)
    return ResNet(Bottleneck, (3, 4, 6, 3), input_shape[0], num_classes, small=True)


def resnet101_cifar(*, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """resnet101 with a 3x3 stem of stride 1 and no max pool: 42.51 M parameters at 10 classes."""
    check_shape("resnet101_cifar", input_shape, num_classes)
    return ResNet(Bottleneck, (3, 4, 23, 3), input_shape[0], num_classes, small=True)
