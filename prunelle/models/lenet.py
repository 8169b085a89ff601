"""The LeNets of the pruning papers, and a very small one."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from prunelle.models.shapes import check_shape


def lenet_300_100(*, input_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Fully connected, 300 and 100 hidden units. 266,610 parameters and 266,200 MACs on 28x28 images.

    input_shape: any (C, H, W); an image is flattened.
    Source: LeCun 1998, used by arXiv:1506.02626; ReLU here.
    """
    check_shape("lenet_300_100", input_shape, num_classes)
    channels, height, width = input_shape
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(channels * height * width, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            fc3=nn.Linear(100, num_classes),
        )
    )


def lenet5(*, input_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Two 5x5 convolutions, 20 and 50 channels, and 500 hidden units: 431,080 parameters on 28x28 images.

    Source: Caffe's lenet.prototxt, the network of arXiv:1506.02626; Caffe has a ReLU after the first linear layer
    only, here there is one after each hidden layer. Sizes are Caffe's.
    """
    check_shape("lenet5", input_shape, num_classes, smallest=16)
    channels, height, width = input_shape
    rows, columns = (((side - 4) // 2 - 4) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 20, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * rows * columns, 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, num_classes),
        )
    )


def lenet5_small(*, input_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Two 3x3 convolutions of 6 channels and 128 hidden units: 29,456 parameters, 104,636 MACs on 28x28 images.

    The second pool rounds up: 11x11 becomes 6x6, hence 6 * 6 * 6 = 216 inputs of the first linear layer.
    """
    check_shape("lenet5_small", input_shape, num_classes, smallest=8)
    channels, height, width = input_shape
    rows, columns = (((side - 2) // 2 - 2 + 1) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, 3),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 6, 3),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2, ceil_mode=True),
            flatten=nn.Flatten(),
            fc1=nn.Linear(6 * rows * columns, 128),
            relu3=nn.ReLU(),
            fc2=nn.Linear(128, num_classes),
        )
    )
