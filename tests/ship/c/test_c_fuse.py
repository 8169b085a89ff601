import copy

import torch
from many_networks import errors, network
from torch import Tensor, nn

from prunelle.graph.trace import trace
from prunelle.ship.c.fuse import fuse
from prunelle.ship.c.lower import lower
from prunelle.ship.c.ops import AddMaps, Conv, Flatten, Linear, Load, MapEach, Mean, Pool, Program


def fused(net: nn.Module, x: Tensor) -> Program:
    return fuse(lower(net.eval(), trace(net, x), 16))


def kinds(program: Program) -> list[type]:
    return [type(op) for op in program.ops]


class Block(nn.Module):
    """A residual link. twice: whether the sum's first addend is read again. first: the order of the sum."""

    def __init__(self, twice: bool = False, shortcut_first: bool = False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.side = nn.Conv2d(3, 3, 1)
        self.twice, self.shortcut_first = twice, shortcut_first

    def forward(self, x: Tensor) -> Tensor:
        side, body = self.side(x), self.norm(self.conv(x))
        y = torch.relu(side + body if self.shortcut_first else body + side)
        return y * body if self.twice else y


def test_batch_norm_goes_into_weights_by_hand() -> None:
    """weight 2, bias 3, mean 1, variance 4: y = (2 x + 3 - 1) / 2 * 5 + 7 = 5 x + 12."""
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        conv.weight.fill_(2.0), conv.bias.fill_(3.0), norm.weight.fill_(5.0), norm.bias.fill_(7.0)
        norm.running_mean.fill_(1.0), norm.running_var.fill_(4.0)
    program = fused(nn.Sequential(conv, norm), torch.randn(1, 1, 4, 4))
    made = program.ops[1]
    assert isinstance(made, Conv)
    assert (made.weight.item(), made.bias.item(), made.steps) == (5.0, 12.0, [])


def test_a_residual_link_is_a_step_of_the_convolution_before() -> None:
    for first in (False, True):
        program = fused(Block(shortcut_first=first), torch.randn(1, 3, 6, 6))
        assert kinds(program) == [Load, Conv, Conv, Flatten]
        last = program.ops[2]
        assert isinstance(last, Conv) and isinstance(last.steps[0], AddMaps) and len(last.steps) == 2


def test_what_others_read_stays() -> None:
    """The convolution's own output is multiplied later: the sum goes to the shortcut's convolution instead."""
    program = fused(Block(twice=True), torch.randn(1, 3, 6, 6))
    assert sum(isinstance(op, Conv) for op in program.ops) == 2
    assert [op.steps for op in program.ops if isinstance(op, Conv)][0 if kinds(program)[1] is Conv else 1] is not None


def test_fusing_changes_no_result() -> None:
    torch.manual_seed(1)
    nets = [Block(twice, first) for twice in (False, True) for first in (False, True)]
    for net in nets:
        net.norm.running_mean.normal_(), net.norm.running_var.uniform_(0.5, 2)
    assert max(errors([network(net, torch.randn(1, 3, 6, 6)) for net in nets])) <= 1e-6


def test_a_network_without_steps_stays_as_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    x = torch.randn(1, 3, 6, 6)
    before = lower(net.eval(), trace(net, x), 16)
    assert kinds(fuse(copy.deepcopy(before))) == kinds(before) == [Load, Conv, Mean, Linear]


def test_dead_filters_are_not_read() -> None:
    """Filters 1 and 2 are zero, with bias 0 and 1: the first is read as zeros, the second still counts."""
    first, second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        first.weight[1:].zero_()
        first.bias.copy_(torch.tensor([0.5, 0.0, 1.0]))
    program = fused(nn.Sequential(first, nn.ReLU(), second), torch.randn(1, 2, 6, 6))
    conv = program.ops[2]
    assert isinstance(conv, Conv)
    assert [number != 0 for number in conv.x] == [True, False, True]


class Strided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2][:, :, :, ::3]


def test_rows_and_columns_taken_with_strides_are_one_operation() -> None:
    program = fused(Strided(), torch.randn(1, 2, 6, 6))
    pool = program.ops[1]
    assert isinstance(pool, Pool) and pool.stride == (2, 3)
    assert kinds(program) == [Load, Pool, Flatten] and not any(isinstance(op, MapEach | Linear) for op in program.ops)
