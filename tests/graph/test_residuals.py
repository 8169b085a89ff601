"""graph/residuals.py: nets of a few lines whose blocks and links are known."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import torch
from tiny import same_bits, seeded, state_of
from torch import nn

from prunelle.errors import ModelError
from prunelle.graph.cuts import Cuts, Replaced, replay_
from prunelle.graph.residuals import find_residuals
from prunelle.models.load import build

NO_SUM = "does not give what comes in with something computed from it added"


class Block(nn.Module):
    """x -> rule(x, branch), where branch is an nn.Linear and link an nn.Identity."""

    def __init__(self, rule):
        super().__init__()
        self.branch, self.link, self.rule = nn.Linear(3, 3), nn.Identity(), rule
        self.offset = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.rule(self, x)


def in_place(block, x):
    out = block.branch(x)
    out += x
    return out


def into_its_input(block, x):
    out = block.branch(x)
    x += out
    return x


def turned_and_back(block, x):
    turned = x.transpose(0, 1)
    return (turned + block.branch(x).transpose(0, 1)).transpose(0, 1)


def two_sums(block, x):
    x = x + block.branch(x)
    return x + torch.tanh(block.branch(x))


def found(rule, x=None):
    net = seeded(lambda: nn.Sequential(Block(rule)))
    return find_residuals(net, torch.randn(3, 3) if x is None else x)


BLOCKS = {
    "plain": lambda block, x: x + block.branch(x),
    "other way round": lambda block, x: block.branch(x) + x,
    "in place": in_place,
    "into its input": into_its_input,
    "scaled branch": lambda block, x: x + 0.5 * block.branch(x),
    "turned and back": turned_and_back,
    "two sums": two_sums,
    "dropped out": lambda block, x: nn.functional.dropout(x + block.branch(x), training=block.training),
    "branch holds the input too": lambda block, x: x + (x * block.branch(x)),
}
NO_BLOCKS = {
    "input scaled": (lambda block, x: 2 * x + block.branch(x), NO_SUM),
    "input twice": (lambda block, x: x + block.branch(x) + x, NO_SUM),
    "a constant": (lambda block, x: x + block.offset, NO_SUM),
    "no sum": (lambda block, x: block.branch(x), NO_SUM),
    "concatenated": (lambda block, x: torch.cat([x, block.branch(x)], 1), r"takes \(3, 3\) and gives \(3, 6\)"),
    "turned": (lambda block, x: (x + block.branch(x)).transpose(0, 1), "when its branches are made 0"),
    "normed": (lambda block, x: nn.functional.layer_norm(x + block.branch(x), (3,)), NO_SUM),
    "two results": (lambda block, x: (x + block.branch(x), x), "gives a tuple, must give one tensor"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_found_by_what_they_do(name):
    (block,) = found(BLOCKS[name]).found
    assert (block.module, block.kind, block.difference) == ("0", "block", 0.0)


@pytest.mark.parametrize("name", NO_BLOCKS)
def test_what_is_no_block_is_told_why(name):
    rule, why = NO_BLOCKS[name]
    residuals = found(rule)
    assert residuals.found == ()
    assert re.search(why, residuals.others["0"])


def test_an_activation_after_the_sum_is_told_by_number():
    def rectified(block, x):
        return torch.relu(x + block.branch(x))

    (negative,) = found(rectified, torch.tensor([[-3.0, 1.0, 4.0]])).found
    (positive,) = found(rectified, torch.tensor([[3.0, 1.0, 4.0]])).found
    assert negative.difference == pytest.approx(3 / 4) and positive.difference == 0.0


def test_of_blocks_within_blocks_the_inner_ones_are_named():
    inner = [Block(BLOCKS["plain"]), Block(in_place)]
    residuals = find_residuals(nn.Sequential(nn.Sequential(*inner), nn.Linear(3, 3)), torch.randn(1, 3))
    assert [one.module for one in residuals.found] == ["0.0", "0.1"]
    assert residuals.others["0"] == "adds only what blocks within it add"


def test_a_block_with_a_sum_of_its_own_is_named_beside_the_inner_one():
    outer = Block(lambda block, x: block.inner(x) + block.branch(x))
    outer.inner = Block(BLOCKS["plain"])
    residuals = find_residuals(nn.Sequential(outer), torch.randn(1, 3))
    assert [one.module for one in residuals.found] == ["0.inner", "0"]


class Twice(nn.Module):
    def __init__(self, block, again):
        super().__init__()
        self.first, self.second = block, again

    def forward(self, x):
        return self.second(self.first(x))


def test_one_block_at_two_places_is_refused():
    block = Block(BLOCKS["plain"])
    residuals = find_residuals(Twice(block, block), torch.randn(1, 3))
    assert residuals.found == () and residuals.others["first"] == "stands at several places (first, second)"


def test_one_block_called_twice_is_a_block_where_it_is_one_both_times():
    net = nn.Sequential(Block(BLOCKS["plain"]))
    net.forward = lambda x: net[0](net[0](x))
    assert [one.module for one in find_residuals(net, torch.randn(1, 3)).found] == ["0"]
    net.forward = lambda x: net[0](torch.cat([net[0](x), x]))
    assert [one.module for one in find_residuals(net, torch.randn(1, 3)).found] == ["0"]
    net[0].rule = lambda block, x: x + block.branch(x) if len(x) > 1 else block.branch(x)
    residuals = find_residuals(net, torch.randn(1, 3))
    assert residuals.found == () and residuals.others["0"] == NO_SUM


def test_a_block_that_wants_more_than_one_tensor_is_refused():
    net = Twice(Block(BLOCKS["plain"]), nn.Identity())
    net.first.forward = lambda x, scale: x + scale * net.first.branch(x)
    net.forward = lambda x: net.first(x, 2)
    residuals = find_residuals(net, torch.randn(1, 3))
    assert residuals.found == () and residuals.others["first"] == "is not called with one tensor and nothing else"


LINKS = {
    "shortcut": lambda block, x: block.link(x) + block.branch(x),
    "activation after": lambda block, x: torch.relu(block.branch(x) + block.link(x)),
}
NO_LINKS = {
    "in the branch": lambda block, x: x + block.link(block.branch(x)),
    "before both": lambda block, x: (lambda h: h + block.branch(h))(block.link(x)),
    "written into": lambda block, x: block.link(x).add_(block.branch(x)),
    "the branch itself": lambda block, x: x + block.link(x),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_are_found_by_what_they_do(name):
    residuals = found(LINKS[name])
    assert [(one.module, one.kind) for one in residuals.found] == [("0", "block"), ("0.link", "link")]


@pytest.mark.parametrize("name", NO_LINKS)
def test_what_is_no_link_is_not_taken_for_one(name):
    assert [one.module for one in found(NO_LINKS[name]).found if one.kind == "link"] == []


def test_a_cut_link_leaves_the_branch():
    net = seeded(lambda: nn.Sequential(Block(LINKS["shortcut"])))
    x = torch.randn(2, 3)
    replay_(net, Cuts(replaced=[Replaced(module="0.link", by="nothing")]))
    assert torch.equal(net(x), net[0].branch(x))
    assert find_residuals(net, x).found == ()


def test_the_model_stays_as_it_was():
    net = build("resnet20").train()
    net.layer2.eval()
    before, flags = state_of(net), [module.training for module in net.modules()]
    x = torch.randn(2, 3, 32, 32)
    copied = x.clone()
    find_residuals(net, x)
    assert same_bits(state_of(net), before) and torch.equal(x, copied)
    assert [module.training for module in net.modules()] == flags
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_model_that_does_not_run_is_told_so():
    with pytest.raises(ModelError, match="CifarResNet: does not run on the example inputs"):
        find_residuals(build("resnet20"), torch.randn(1, 1, 32, 32))


@pytest.mark.parametrize(
    ("name", "side", "blocks", "links"),
    [
        ("resnet20", 32, 7, 9),
        ("resnet44", 32, 19, 21),
        ("resnet18", 64, 5, 5),
        ("resnet50", 64, 12, 12),
        ("mobilenet_v2", 64, 10, 0),
        ("timm:resnet18", 64, 5, 0),
        ("timm:vit_tiny_patch16_224", 224, 12, 0),
        ("timm:convnext_atto", 64, 12, 12),
        ("timm:mobilenetv3_small_100", 64, 6, 0),
    ],
)
def test_known_networks(name, side, blocks, links):
    if name.startswith("timm:") and find_spec("timm") is None:
        pytest.skip("the vision extra is not installed")
    model = build(name, input_shape=(3, side, side))
    residuals = find_residuals(model, torch.randn(1, 3, side, side))
    kinds = [one.kind for one in residuals.found]
    assert (kinds.count("block"), kinds.count("link")) == (blocks, links)
    assert all(one.difference == 0 for one in residuals.found)
