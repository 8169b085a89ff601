import pytest
import torch
from many_networks import Case, network, plan_of, sparse_
from torch import nn

from prunelle.models.load import build
from prunelle.models.names import TABLE
from prunelle.ship.c.memory import SLACK, lifetimes, size_of
from prunelle.ship.c.ops import Maps
from prunelle.ship.c_plan import Plan

NAMES = [
    "lenet_300_100",
    "lenet5",
    "lenet5_small",
    "alexnet_cifar",
    "resnet20",
    "resnet50_cifar",
    "vgg16_bn_cifar",
]
NAMES += ["mobilenet_v2_cifar", "shufflenet_v2"]
"""One of each builder and depth of block in the table of models."""


def overlaps(plan: Plan) -> list[tuple[object, object]]:
    """Pairs of buffers that are needed at once and share a vector."""
    placed = []
    for buffer, (begin, end) in lifetimes(plan.program, plan.ops).items():
        above = buffer.above * buffer.layout.vecs if isinstance(buffer, Maps) else 0
        first = buffer.offset - above
        placed.append((first, first + size_of(buffer, plan.vector_bytes), begin, end, buffer))
    found = []
    for index, (first, last, begin, end, buffer) in enumerate(placed):
        assert first >= SLACK and last <= plan.workspace_bytes // plan.vector_bytes - SLACK
        for other_first, other_last, other_begin, other_end, other in placed[:index]:
            if first < other_last and other_first < last and begin <= other_end and other_begin <= end:
                found.append((buffer, other))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_two_buffers_that_live_at_once_share_a_byte(name: str) -> None:
    shape = TABLE[name].input_shape
    if shape[1] > 64:
        shape = (3, 64, 64)
    net = sparse_(build(name, input_shape=shape), 0.02)
    assert overlaps(plan_of(network(net, torch.randn(1, *shape)), 64)) == []


def chain(num: int) -> Case:
    layers = [nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(num)]
    return network(nn.Sequential(*layers), torch.randn(1, 4, 16, 16))


def test_a_longer_chain_takes_no_more_memory() -> None:
    """Two maps of 4 channels, 16 rows, one above and one below, each one vector; the output; the slack."""
    four, eight = (plan_of(chain(num), 64) for num in (4, 8))
    assert four.workspace_bytes == eight.workspace_bytes
    assert four.workspace_bytes <= (2 * 4 * 18 + 4 * 16 + 2 * SLACK) * 64


def test_a_plan_that_shares_is_found_out() -> None:
    plan = plan_of(chain(3), 64)
    first, second = plan.ops[0].out, plan.ops[1].out
    second.offset = first.offset
    assert overlaps(plan) != []
