import math
from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.errors import ModelError, WeightsError
from prunelle.graph.trace import trace
from prunelle.ship.finite import refuse_not_finite
from prunelle.ship.native import build_native

IMAGES = torch.ones(2, 2, 4, 4)


class Net(nn.Module):
    """A convolution, a batch norm, and a head that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head, self.unread = (
            nn.Conv2d(2, 3, 1),
            nn.BatchNorm2d(3),
            nn.Linear(48, 2),
            nn.ReLU(),
        )
        self.unread.weight = nn.Parameter(torch.full((4,), math.nan))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).flatten(1))


def spoilt(name: str, value: float) -> Net:
    net = Net().eval()
    net.state_dict()[name].view(-1)[1] = value
    return net


def test_what_nothing_reads_may_hold_anything() -> None:
    net = Net().eval()
    refuse_not_finite("native", net, trace(net, IMAGES))


@pytest.mark.parametrize("name", ("conv.weight", "conv.bias", "norm.running_mean", "norm.running_var", "head.weight"))
def test_the_tensor_is_named(name: str) -> None:
    net = spoilt(name, -math.inf)
    with pytest.raises(WeightsError, match=rf"^here: 1 of the \d+ numbers of {name} are NaN or infinite, "):
        refuse_not_finite("here", net, trace(net, IMAGES))


@pytest.mark.parametrize("precision", ("fp32", "int16"))
@pytest.mark.parametrize("value", (math.nan, math.inf))
def test_no_library_is_built_of_it(tmp_path: Path, precision: str, value: float) -> None:
    with pytest.raises(WeightsError) as caught:
        build_native(spoilt("head.weight", value), IMAGES, tmp_path, precision=precision, calibration=IMAGES)
    assert str(caught.value) == (
        "native: 1 of the 96 numbers of head.weight are NaN or infinite, all must be finite; "
        "train the network again, or load other weights."
    )
    assert list(tmp_path.iterdir()) == []


def test_finite_weights_whose_outputs_are_not_are_refused_too(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1))
    with torch.no_grad():
        net[0].weight.fill_(3e38), net[1].weight.fill_(3e38)
    with pytest.raises(ModelError, match=r"^native: outputs are NaN or infinite for an image of numbers in \[-1, 1\)"):
        build_native(net, IMAGES, tmp_path, target="x86-64-v3")
