"""AlexNet for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from prunelle.models.init import he_init_
from prunelle.models.shapes import check_shape


def alexnet_cifar(*, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """AlexNet's five convolutions and three linear layers, cut to 32x32: 23.27 M parameters, most in the linear ones.

    Source: Krizhevsky 2012; the convolutions are 3x3 and the first has stride 2, so that 32x32 ends at 2x2.
    """
    check_shape("alexnet_cifar", input_shape, num_classes, smallest=15)
    channels, height, width = input_shape
    rows, columns = ((side + 1) // 2 // 8 for side in (height, width))
    features = nn.Sequential(
        nn.Conv2d(channels, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    classifier = nn.Sequential(
        nn.Dropout(0.5),
        nn.Linear(256 * rows * columns, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, num_classes),
    )
    model = nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier))
    he_init_(model)
    return model
