"""16-bit layers beside the float network: odd numbers of outputs, channels that are always zero, many inputs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import ModelError
from prunelle.ship.native import build_native, load_native


def error(net: nn.Module, images: Tensor, folder: Path, precision: str = "int16") -> float:
    """The largest difference as a share of the largest output."""
    build_native(net.eval(), images, folder, precision=precision, target="x86-64-v3", calibration=images)
    with torch.inference_mode():
        expected = net(images)
    return float((load_native(folder)(images) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("outputs", [5, 17, 40])
def test_a_linear_layer_writes_only_its_own_outputs(outputs: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(8, outputs))
    assert error(net, torch.randn(6, 2, 2, 2), tmp_path) < 2e-3


def test_a_dead_channel_before_a_pool_takes_no_bits_from_the_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten())
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = 0
    assert error(net, torch.randn(6, 1, 10, 10), tmp_path) < 2e-2


def test_many_inputs_keep_their_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(1200, 16))
    assert error(net, torch.randn(6, 3, 20, 20), tmp_path) < 2e-2


def test_a_folder_that_was_written_again_gives_the_new_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 1, 4, 4)
    for _ in range(2):
        assert error(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), images, tmp_path, "fp32") < 1e-5


class Floor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.div(x, 2.0, rounding_mode="floor").flatten(1)


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.int32).float().flatten(1)


@pytest.mark.parametrize("net", [Floor(), Whole()])
def test_what_rounds_is_refused_by_name(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ship it as onnx"):
        build_native(net, torch.randn(1, 1, 4, 4), tmp_path, target="x86-64-v3")


def test_more_steps_than_a_table_holds_are_split(tmp_path: Path) -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(nn.Conv2d(1, 2, 3, padding=1) for _ in range(9))

        def forward(self, x: Tensor) -> Tensor:
            total = self.branches[0](x)
            for branch in self.branches[1:]:
                total = total + branch(x)
            return total.flatten(1)

    assert error(Sums(), torch.randn(3, 1, 6, 6), tmp_path, "fp32") < 1e-5
