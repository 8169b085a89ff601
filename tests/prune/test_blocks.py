"""prune/blocks.py: plans, prices, the order of removals."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tiny import same_bits, seeded, state_of
from torch import nn

from prunelle.errors import ModelError, SettingError
from prunelle.graph.cuts import Cuts, Replaced
from prunelle.measure.accuracy import Evaluation
from prunelle.measure.latency import Timing
from prunelle.models.load import build
from prunelle.models.save import Builder, load, save
from prunelle.prune.blocks import Trial, choose_blocks, plan_blocks, race, rank_blocks, without

pytestmark = pytest.mark.usefixtures("one_thread")

RESNET20 = Builder(spec="resnet20", input_shape=[3, 32, 32], num_classes=10)
IMAGE = torch.ones(1, 3, 32, 32)


class Block(nn.Module):
    """x + f(x), f with `width` hidden numbers: 2 * 2 * width multiply-adds, 4 * width + width + 2 parameters."""

    def __init__(self, width):
        super().__init__()
        self.inner, self.outer, self.shortcut = nn.Linear(2, width), nn.Linear(width, 2), nn.Identity()

    def forward(self, x):
        return self.shortcut(x) + self.outer(self.inner(x))


def net(*widths):
    return seeded(lambda: nn.Sequential(*(Block(width) for width in widths))).eval()


X = torch.ones(1, 2)
LOSSES = {"0": 0.3, "1": 0.1, "2": 0.05}
"""Points of top1 that the blocks of net(1, 2, 8) cost, in hundredths a hundred."""


def judge(model, losses=LOSSES):
    gone = [name for name, module in model.named_children() if isinstance(module, nn.Identity)]
    cut = [name for name, module in model.named_children() if isinstance(module, Block) and not same(module.shortcut)]
    top1 = 1 - sum(losses[name] for name in gone) - sum(losses[name] / 10 for name in cut)
    empty = torch.zeros(1)
    return Evaluation(top1, 1 - top1, empty, empty, empty)


def same(module):
    return isinstance(module, nn.Identity)


def names(prices):
    return [price.module for price in prices]


def test_prices_by_hand():
    best, middle, worst = rank_blocks(net(1, 2, 8), X, Trial(judge))
    assert (best.module, best.macs_saved, best.params_saved) == ("2", 2 * 2 * 8, 5 * 8 + 2)
    assert (best.num_gone, best.kind, best.difference) == (0, "block", 0.0)
    assert best.top1 == pytest.approx(0.95) and best.loss == pytest.approx(0.05)
    assert best.ms_saved is None and best.speedup is None
    assert names([middle, worst]) == ["1", "0"]


def test_links_have_prices_too():
    prices = rank_blocks(net(1, 2, 8), X, Trial(judge, kinds=("link",)))
    assert names(prices) == ["2.shortcut", "1.shortcut", "0.shortcut"]
    assert {price.macs_saved for price in prices} == {0} and prices[0].top1 == pytest.approx(0.995)


def test_milliseconds_come_from_the_clock():
    def clock(before, after):
        assert same(after[0]) or same(after[1])
        return Timing(2.0, 2.0, 2.0, 1.5, 1.4, 1.6, 100, 1)  # before took 3 ms

    for price in rank_blocks(net(1, 2), X, Trial(judge, clock=clock)):
        assert (price.ms_saved, price.speedup) == (1.0, 1.5)


def test_a_repair_comes_before_the_judge_and_is_not_kept():
    seen = []

    def mend(model, cuts):
        assert [one.module for one in cuts.replaced] == [name for name, child in model.named_children() if same(child)]
        seen.append(model)
        return net(1, 2, 8)  # as good as new

    assert {price.top1 for price in rank_blocks(net(1, 2, 8), X, Trial(judge, mend))} == {1.0}
    assert len(seen) == 3
    choose_blocks(net(1, 2, 8), X, Trial(judge, mend), num=2)
    assert len(seen) == 3 + 3 + 2


def test_removals_follow_the_least_loss_by_number():
    plan = choose_blocks(net(1, 2, 8), X, Trial(judge), num=2)
    assert names(plan.taken) == ["2", "1"]
    assert plan.cuts == Cuts(replaced=[Replaced(module=name, by="identity") for name in "21"])
    assert (plan.macs_before, plan.macs_after) == (44, 4)
    assert [price.num_gone for price in plan.tried] == [0, 0, 0, 1, 1]
    assert [row["module"] for row in plan.rows() if row["taken"]] == ["2", "1"]
    assert plan.taken[1].top1 == pytest.approx(0.85)


def test_removals_follow_the_least_loss_a_multiply_add_by_share():
    dear = {"0": 0.06, "1": 0.1, "2": 0.3}  # 0.015, 0.0125 and 0.0094 a multiply-add of 4, 8 and 32
    trial = Trial(partial(judge, losses=dear))
    assert names(choose_blocks(net(1, 2, 8), X, trial, macs=0.5).taken) == ["2"]
    assert names(choose_blocks(net(1, 2, 8), X, trial, macs=0.8).taken) == ["2", "1"]
    assert names(choose_blocks(net(1, 2, 8), X, trial, num=1).taken) == ["0"]


def test_a_share_is_reached_exactly_and_not_passed_by_one_block_more():
    assert (
        len(choose_blocks(net(1, 1, 1, 1), X, Trial(partial(judge, losses=dict.fromkeys("0123", 0))), macs=0.5).taken)
        == 2
    )


def test_only_the_formerly_best_are_tried_anew():
    model = net(1, 2, 8, 8, 8)
    losses = {**LOSSES, "3": 0.01, "4": 0.02}
    plan = choose_blocks(model, X, Trial(partial(judge, losses=losses), retry=1), num=3)
    assert names(plan.taken) == ["3", "4", "2"] and len(plan.tried) == 5 + 1 + 1


def test_a_block_whose_link_is_cut_is_no_block_and_a_link_goes_with_its_block():
    plan = choose_blocks(net(1, 2), X, Trial(judge, kinds=("block", "link")), num=2)
    assert names(plan.taken) == ["1.shortcut", "0.shortcut"]
    free = {"0": -0.5, "1": 0.4}  # better without the first
    plan = choose_blocks(net(1, 2), X, Trial(partial(judge, losses=free), kinds=("block", "link")), num=2)
    assert names(plan.taken) == ["0", "1.shortcut"]


def test_what_cannot_be_reached_is_refused():
    with pytest.raises(SettingError, match=r"blocks: 3 blocks cannot be taken out; after 2 nothing is left that could"):
        choose_blocks(net(1, 2), X, Trial(judge), num=3)
    model = nn.Sequential(net(1), nn.Linear(2, 6))
    with pytest.raises(SettingError, match=r"50% of the MACs cannot be .* 25\.0% of the MACs are gone; ask for less"):
        choose_blocks(model, X, Trial(lambda _: judge(net())), macs=0.5)


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        ({}, "macs is None and num is None; give one"),
        ({"macs": 0.5, "num": 2}, "macs is 0.5 and num is 2; give one"),
        ({"macs": 1.0}, r"macs is 1.0, a share of the multiply-adds must lie in \[0, 1\)"),
        ({"num": -1}, "num is -1, must be 0 or more"),
    ],
)
def test_amounts_are_checked_at_the_door(amount, why):
    with pytest.raises(SettingError, match=why):
        choose_blocks(net(1), X, Trial(judge), **amount)


def test_none_to_try_anew_is_refused():
    with pytest.raises(SettingError, match="retry is 0, must be at least 1, or None"):
        Trial(judge, retry=0)


def test_nothing_asked_changes_nothing():
    model = build("resnet20").eval()
    cuts = plan_blocks(model, IMAGE, [])
    assert cuts == Cuts()
    assert same_bits(state_of(without(model, cuts)), state_of(model))
    assert torch.equal(without(model, cuts)(IMAGE), model(IMAGE))
    assert choose_blocks(model, IMAGE, Trial(lambda _: judge(net())), num=0).cuts == Cuts()
    assert choose_blocks(model, IMAGE, Trial(lambda _: judge(net())), macs=0.0).cuts == Cuts()


def test_a_removed_block_is_the_block_with_its_branch_at_0():
    model = seeded(lambda: build("resnet20")).eval()
    nn.init.zeros_(model.get_parameter("layer2.1.bn2.weight"))
    left = without(model, plan_blocks(model, IMAGE, ["layer2.1"]))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(left(x), model(x))
    assert isinstance(left.get_submodule("layer2.1"), nn.Identity)
    assert not isinstance(model.get_submodule("layer2.1"), nn.Identity)


def test_what_lies_within_a_removed_block_goes_with_it():
    model = build("resnet20").eval()
    cuts = plan_blocks(model, IMAGE, ["layer1.0.shortcut", "layer1.0", "layer1.1.shortcut", "layer1.0"])
    assert [(one.module, one.by) for one in cuts.replaced] == [
        ("layer1.0", "identity"),
        ("layer1.1.shortcut", "nothing"),
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("layer2.0", r"layer2.0: cannot go: it takes \(1, 16, 32, 32\) and gives \(1, 32, 16, 16\), which must be the"),
        ("layer1", "layer1: cannot go: it adds only what blocks within it add"),
        ("layer1.0.conv1", "it does not give what comes in with something computed from it added"),
        ("layer9", r"layer9: cannot go: it is no module that ran. What can: layer1.0, layer1.0.shortcut, "),
    ],
)
def test_what_cannot_go_is_refused_by_name(name, why):
    with pytest.raises(SettingError, match=why):
        plan_blocks(build("resnet20"), IMAGE, ["layer1.0", name])


def test_a_model_that_looks_into_its_blocks_is_refused_without_them():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(1)

        def forward(self, x):
            return self.block(x) * self.block.inner.out_features

    with pytest.raises(ModelError, match="blocks: what would be left does not run"):
        plan_blocks(Reader(), X, ["block"])


def test_saved_and_loaded_bit_for_bit_and_trained_on(tmp_path):
    model = seeded(lambda: build("resnet20")).eval()
    cuts = plan_blocks(model, IMAGE, ["layer1.1", "layer3.2", "layer2.0.shortcut"])
    left = without(model, cuts)
    save(left, tmp_path, builder=RESNET20, cuts=cuts)
    again = load(tmp_path)
    x = torch.randn(3, 3, 32, 32)
    assert same_bits(state_of(again), state_of(left)) and torch.equal(again(x), left(x))
    more = plan_blocks(again, IMAGE, ["layer2.2"])
    save(without(again, more), tmp_path, builder=RESNET20, cuts=cuts.then(more))
    assert torch.equal(load(tmp_path)(x), without(again, more)(x))
    left.train()(x).sum().backward()
    assert all(p.grad is not None for p in left.parameters())


def test_the_clock_runs_both_in_turns():
    def runtime(model, images, threads):
        assert threads == 1
        return model

    timing = race(runtime, X)(net(1, 2), net(1))
    assert timing.ratio is not None and timing.num_samples >= 30
