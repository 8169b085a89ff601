"""Which networks and updates can be trained by their kept weights only."""

from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from prunelle.models.lenet import lenet5, lenet_300_100
from prunelle.tickets.sparse_chain import chain_of
from prunelle.tickets.sparse_training import trainable
from prunelle.train.ddp import Ranks
from prunelle.train.losses import Plain, SmoothedLabels
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import BF16
from prunelle.train.step import Update

RULE = Update(Plain(cross_entropy), Sgd())


class Named(nn.Sequential):
    """A class of a user's that runs as Sequential does."""


class Own(nn.Conv2d):
    """Its forward may be anything."""


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked() -> nn.Module:
    model = lenet_300_100()
    model.fc2.register_forward_hook(lambda module, x, y: 2 * y)
    return model


def cifar_start() -> nn.Module:
    return nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(16)))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[3].weight = model[1].weight
    return model


def twice() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer)


def frozen() -> nn.Module:
    model = lenet_300_100()
    model.fc1.bias.requires_grad_(False)
    return model


def own_forward() -> nn.Module:
    model = lenet_300_100()
    model.fc3.forward = torch.relu
    return model


def buffered() -> nn.Module:
    model = lenet_300_100()
    model.register_buffer("seen", torch.zeros(1))
    return model


def more_weights() -> nn.Module:
    model = lenet_300_100()
    model.register_parameter("scale", nn.Parameter(torch.ones(1)))
    return model


def chain(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 4), *modules)


def convolution(*modules: nn.Module, **settings) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, **settings), *modules, nn.Flatten(), nn.Linear(8, 2))


REFUSED = {
    "conv1: is a Own, must be one of": lambda: nn.Sequential(OrderedDict(conv1=Own(1, 2, 3))),
    "network: is a Doubled, must be one of": lambda: Doubled(nn.Flatten(), nn.Linear(4, 4)),
    "conv1: is Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)": cifar_start,
    "0: is Conv2d(1, 2, kernel_size=(3, 3), stride=(2, 2)), must have stride 1": lambda: convolution(stride=2),
    "2: is MaxPool2d(kernel_size=2, stride=2": lambda: convolution(nn.MaxPool2d(2), nn.MaxPool2d(2)),
    "1: is MaxPool2d(kernel_size=3, stride=2, padding=0": lambda: convolution(nn.MaxPool2d(3, 2)),
    "1: is MaxPool2d(kernel_size=(2, 1)": lambda: convolution(nn.MaxPool2d((2, 1))),
    "1: is MaxPool2d(kernel_size=12": lambda: convolution(nn.MaxPool2d(12)),
    "0: is MaxPool2d": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)),
    "2: is MaxPool2d": lambda: chain(nn.MaxPool2d(2), nn.Linear(4, 2)),
    "2: is Conv2d(1, 2, kernel_size=(1, 1), stride=(1, 1)), must stand before": lambda: chain(nn.Conv2d(1, 2, 1)),
    "1: reads 3 numbers or channels, the layer before gives 2": lambda: convolution(nn.Conv2d(3, 2, 1)),
    "fc2: has hooks or a forward of its own, must be plain": hooked,
    "fc3: has hooks or a forward of its own": own_forward,
    "3.weight: is the same tensor as 1.weight": tied,
    "3.weight: is the same tensor as 1.weight, must be one of its own": twice,
    "fc1.bias: is frozen or has a hook": frozen,
    "fc1.weight: is torch.float64 on cpu, must be torch.float32": lambda: lenet_300_100().double(),
    "fc1.weight: is torch.float32 on meta": lambda: lenet_300_100().to("meta"),
    "seen: is a buffer": buffered,
    "scale: belongs to no layer": more_weights,
    "2: is a Dropout, must be one of Sequential, Flatten": lambda: chain(nn.Dropout(), nn.Linear(4, 2)),
    "3: is ReLU(), must stand behind a layer that has no": lambda: chain(nn.ReLU(), nn.ReLU(), nn.Linear(4, 2)),
    "1: is Tanh(), must stand behind a layer": lambda: nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(4, 2)),
    "2: reads 5 numbers or channels, the layer before gives 4": lambda: chain(nn.Linear(5, 2)),
    "2: has the slope -1": lambda: chain(nn.LeakyReLU(-1.0), nn.Linear(4, 2)),
    "network: does not end in a linear layer, must do so for cross entropy": lambda: chain(nn.ReLU()),
    "network: does not end in a linear layer": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()),
    "0: is Linear(in_features=4, out_features=4, bias=True), must stand behind": lambda: nn.Sequential(nn.Linear(4, 4)),
    "0: flattens axes 0 to -1, must be 1 to -1": lambda: nn.Sequential(nn.Flatten(0), nn.Linear(4, 4)),
}


@pytest.mark.parametrize("text", REFUSED)
def test_networks_that_are_refused(text):
    reason = trainable(REFUSED[text](), RULE)
    assert reason is not None and reason.startswith(text)
    assert reason.endswith("to train kept weights only; train this network under masks instead.")


REFUSED_RULES = {
    "the objective is Plain": Update(Plain(mse_loss), Sgd()),
    "the objective is functools.partial": Update(Plain(cross_entropy).__call__, Sgd()),
    "the precision is Precision(dtype=torch.bfloat16": Update(Plain(cross_entropy), Adam(), BF16),
    "the number of ranks is 2, must be 1": Update(Plain(cross_entropy), Adam(), ranks=Ranks(0, 2)),
    "the optimizer is": Update(Plain(cross_entropy), partial(Sgd)),
}


@pytest.mark.parametrize("text", REFUSED_RULES)
def test_updates_that_are_refused(text):
    reason = trainable(lenet_300_100(), REFUSED_RULES[text])
    assert reason is not None and reason.startswith("sparse training: the ")
    if "functools" not in text:
        assert reason.startswith(f"sparse training: {text}")


def test_chains_that_are_trained():
    nested = nn.Sequential(nn.Sequential(nn.Flatten()), Named(nn.Linear(4, 3), nn.Tanh()), nn.Linear(3, 2, bias=False))
    relu = nn.ReLU()
    again = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Flatten(), nn.Linear(4, 2))
    for model in (lenet_300_100(), lenet5(), nested, again):
        for rule in (RULE, Update(SmoothedLabels(0.1), Adam(decoupled=True))):
            assert trainable(model, rule) is None
    assert [link.weight for link in chain_of(nested)] == ["1.0.weight", "2.weight"]
    assert [link.bias for link in chain_of(nested)] == ["1.0.bias", None]
    assert [link.activation for link in chain_of(again)] == [1, 1, 0]  # a ReLU that stands there twice runs twice


def test_without_a_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("prunelle.ship.compiler.shutil.which", lambda word: None)
    monkeypatch.setattr("prunelle.ship.compiler.find_spec", lambda name: None)
    reason = trainable(lenet_300_100(), RULE)
    assert reason is not None and "pip install 'prunelle[compiler]'" in reason
