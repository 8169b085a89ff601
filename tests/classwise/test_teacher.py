"""classwise/teacher.py: the whole network's outputs as its member would have them."""

import pytest
import torch
from tiny import mlp, same_bits, state_of
from torch import nn

from prunelle.classwise.teacher import Merged, widened
from prunelle.train.losses import Distillation, Plain, both_sides


def logits(seed: int = 0) -> torch.Tensor:
    return 5 * torch.randn(7, 6, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("group", [(0, 3), (5, 1, 2), (0, 1, 2, 3, 4), (4,)])
def test_none_of_mine_has_the_sum_of_the_others(group):
    outputs = logits()
    rest = [c for c in range(6) if c not in group]
    found = widened(outputs, group)
    own = found[:, : len(group) + 1]
    whole = outputs.softmax(1)
    assert torch.allclose(own.softmax(1)[:, 0], whole[:, rest].sum(1), atol=1e-12)
    assert torch.allclose(own.softmax(1)[:, 1:], whole[:, list(group)], atol=1e-12)
    assert torch.equal(found[:, 1:], outputs[:, [*group, *rest]])


def test_what_a_single_class_is_told_by_hand():
    """.5 against .25 + .25: even odds."""
    found = widened(torch.tensor([[0.5, 0.25, 0.25]]).log(), (0,))
    assert (found[:, 1] - found[:, 0]).item() == pytest.approx(0.0, abs=1e-6)


def test_of_all_classes_the_outputs_themselves():
    outputs = logits()
    assert widened(outputs, tuple(range(6))) is outputs


def test_large_outputs_do_not_overflow():
    assert torch.isfinite(widened(torch.tensor([[500.0, 400.0, -500.0]]), (0,))).all()


def test_the_module_merges_what_the_network_says_and_shares_its_weights():
    whole = mlp().eval()
    before = state_of(whole)
    images = torch.rand(4, 2, 6, 6)
    found = Merged(whole, [2])
    outputs = whole(images)
    none = outputs[:, :2].logsumexp(1, keepdim=True)
    assert torch.equal(found(images), torch.cat([none, outputs[:, [2, 0, 1]]], 1)) and found.group == (2,)
    assert torch.equal(Merged(whole, [0, 1, 2])(images), outputs)
    assert found.whole is whole and same_bits(state_of(whole), before)


def test_log_odds_as_two_columns():
    assert both_sides(torch.tensor([[3.0], [-1.0]])).tolist() == [[0.0, 3.0], [0.0, -1.0]]
    wide = torch.ones(2, 3)
    assert both_sides(wide) is wide


def test_distilling_one_column_is_distilling_two():
    """By hand: KL of log-odds 1 at temperature 1 against 0: sum p log(p / q), p = .731059, q = .5: .110944."""
    given, wanted = torch.zeros(3, 1), torch.ones(3, 1)

    class Says(nn.Module):
        def forward(self, images):
            return wanted

    loss = Distillation(Plain(lambda outputs, targets: outputs.sum() * 0), Says(), temperature=1.0, weight=1.0)
    assert loss(torch.zeros(3, 1), given, torch.zeros(3)).item() == pytest.approx(0.110944, abs=1e-5)
    assert loss(torch.zeros(3, 1), wanted, torch.zeros(3)).item() == pytest.approx(0.0, abs=1e-7)
