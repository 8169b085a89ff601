"""Which networks and updates are refused, and with what words."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, linear

from prunelle.models.lenet import lenet5
from prunelle.models.resnet import resnet20
from prunelle.tickets.fusing import fusable
from prunelle.train.ddp import Ranks
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import BF16
from prunelle.train.step import Update


class Wrapped(nn.Module):
    """One linear layer and a forward of the test's choice."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.chosen = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.chosen(self, x.flatten(1))


class Scaled(nn.Module):
    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", tensor)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_forward_hook(lambda *_: None)
    return model


def two_types() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double())


def frozen() -> nn.Module:
    return nn.Linear(4, 4).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Dropout2d(0.1)), "0 (Dropout2d) drops other units than in a training of its own; pass p=0"),
        (
            nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
            "the model (Conv2d) pads by 'reflect', must be 'zeros'",
        ),
        (nn.Sequential(nn.PReLU()), "0 (PReLU) holds tensors of its own, which only Linear, Conv2d, BatchNorm1d"),
        (nn.LSTM(2, 2), "the model (LSTM) holds tensors of its own"),
        (Scaled(torch.ones(1)), "the model (Scaled) holds tensors of its own"),
        (nn.BatchNorm3d(1, affine=False, track_running_stats=False), "the model (BatchNorm3d) holds tensors"),
        (tied(), "0.weight and 1.weight are one tensor, must be two; untie them"),
        (hooked(), "0 (Linear) has a hook, which would see all members at once"),
        (two_types(), "weights are torch.float32 on cpu, torch.float64 on cpu, must be of one type"),
        (frozen(), "the model has nothing to train"),
    ],
)
def test_what_is_seen_by_looking(model: nn.Module, words: str):
    reason = fusable(model)
    assert reason is not None and reason.startswith(words), reason


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Update(Plain(cross_entropy), Sgd(), BF16), "precision is torch.bfloat16, must be fp32"),
        (Update(Plain(cross_entropy), Sgd(), ranks=Ranks(0, 2)), "there are 2 ranks, must be one"),
        (Update(Plain(cross_entropy), object()), "optimizer object may look at more than one number at a time"),  # type: ignore[arg-type]
    ],
)
def test_rules(rule: Update, words: str):
    model = nn.Linear(4, 4)
    assert fusable(model) is None
    reason = fusable(model, rule)
    assert reason is not None and reason.startswith(words), reason


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (
            lambda self, x: self.fc(x - x.mean(0)),
            "its forward mixes examples or draws random numbers (outputs are off by",
        ),
        (lambda self, x: dropout(self.fc(x), 0.5, self.training), "its forward mixes examples or draws random numbers"),
        (
            lambda self, x: linear(x, self.fc.weight),
            "its forward fails on the batches of two members laid end to end (",
        ),
        (lambda self, x: self.fc(x.view(3, 4)), "its forward fails on the batches of two members laid end to end ("),
        (lambda self, x: self.fc(x)[:3], "its outputs are (3, 4), must be (6, 4) for six images"),
    ],
)
def test_what_a_trial_shows(forward, words: str):
    model = Wrapped(forward)
    assert fusable(model) is None
    drawn = torch.random.get_rng_state()
    reason = fusable(model, input_shape=(1, 2, 2))
    assert reason is not None and reason.startswith(words), reason
    assert torch.equal(drawn, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Wrapped(lambda self, x: self.fc(self.fc(x).view(x.shape[0], -1))), (1, 2, 2)),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(4, 2)), (1, 2, 2)),
        (lenet5(), (1, 28, 28)),
        (resnet20(), (3, 16, 16)),
    ],
    ids=["twice", "no-dropout", "lenet5", "resnet20"],
)
def test_what_goes(model: nn.Module, shape: tuple[int, int, int]):
    assert fusable(model, Update(Plain(cross_entropy), Adam()), shape) is None
