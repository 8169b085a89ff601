"""Linear layers lose units that change nothing, and skip an image's background, without changing an answer."""

import pytest
import torch
from many_networks import errors, network
from torch import nn

from prunelle.graph.trace import trace
from prunelle.ship.c.fuse import fuse
from prunelle.ship.c.lower import lower
from prunelle.ship.c.ops import Linear, LoadVector
from prunelle.ship.c_plan import background_of, plan_c
from prunelle.ship.compiler import target_of
from prunelle.ship.native import build_native, load_native


def two_layers() -> nn.Sequential:
    """Unit 0 has no weights and a bias of 2; unit 1 is read by nobody; unit 2 counts."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 2, 0]]))
        net[1].bias.copy_(torch.tensor([2.0, 0, 1]))
        net[3].weight.copy_(torch.tensor([[3.0, 0, 1], [1, 0, 0]]))
        net[3].bias.copy_(torch.tensor([0.5, 0]))
    return net


def linears(net: nn.Module) -> list[Linear]:
    program = fuse(lower(net, trace(net, torch.zeros(1, 1, 2, 2)), 16))
    assert isinstance(program.ops[0], LoadVector)
    return [op for op in program.ops if isinstance(op, Linear)]


def test_a_constant_unit_moves_into_the_next_bias():
    first, second = linears(two_layers())
    assert first.weight.tolist() == [[1, 0, 2, 0]]
    assert second.weight.tolist() == [[1], [0]]
    assert second.bias.tolist() == [0.5 + 3 * 2, 2]


def test_maps_of_which_no_pixel_is_read_are_not_made():
    """Of three channels of 2 x 2 pixels the second is read nowhere: its convolution, pool and pixels go."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)).eval()
    with torch.no_grad():
        net[3].weight[:, 4:8] = 0
    image = torch.randn(1, 1, 6, 6)
    program = fuse(lower(net, trace(net, image), 16))
    flatten, last = program.ops[-2:]
    assert isinstance(last, Linear) and last.weight.shape == (2, 8)
    assert len(flatten.x) == 2 and flatten.out.count == 8
    plan = plan_c(net, image, 32, 12)
    assert {int(channel) for channel in plan.ops[2].taps[:, 0]} == {0, 2}
    assert plan_c(nn.Sequential(*net[:3], nn.Linear(12, 2)).eval(), image, 32, 12).ops[2].taps.shape == (27, 4)
    assert error_of(net, image) <= 1e-6


def error_of(net: nn.Module, image: torch.Tensor) -> float:
    return errors([network(net, image)])[0]


def test_a_layer_without_such_units_stays():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    first, second = linears(net)
    assert first.weight.shape == (3, 4) and second.weight.shape == (2, 3)


@pytest.mark.parametrize("precision", ["fp32", "int16"])
def test_skipping_a_background_changes_no_answer(tmp_path, precision):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10)).eval()
    images = torch.full((20, 1, 8, 8), -0.4242)
    images[:, :, 2:6, 2:6] = torch.randn(20, 1, 4, 4)
    build_native(net, images[:1], tmp_path, precision=precision, calibration=images)
    with torch.inference_mode():
        expected, found = net(images), load_native(tmp_path)(images)
    bound = 1e-6 if precision == "fp32" else 3e-3
    assert float((found - expected).abs().max()) <= bound * float(expected.abs().max())


def test_only_a_value_of_many_pixels_is_a_background():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert background_of(image) is None
    image[0, 0, 0] = 7.5
    assert background_of(image) == 7.5


def test_layers_behind_the_first_skip_only_zero():
    machine = target_of("native")
    plan = plan_c(two_layers(), torch.ones(1, 1, 2, 2), machine.vector_bytes, machine.registers)
    assert [op.base for op in plan.ops if isinstance(op, Linear)] == [1.0, 0.0]
