"""classwise/member_task.py: what one member is trained for."""

from dataclasses import replace

import pytest
import torch
from tiny import small_task
from torch.nn.functional import cross_entropy

from prunelle.classwise.member_task import BalancedCorrect, MemberLoss, member_task
from prunelle.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_member_of_two_classes_knows_none_of_mine_too():
    task = small_task()
    own = member_task(task, (0, 2))
    assert own.num_classes == 3 and own.class_names == ("none of mine", "a", "c")
    assert len(own.train) == 64 and len(own.val) == len(task.val) == 24
    labels = torch.cat([targets for _, targets in task.test.epoch(9)])
    found = torch.cat([targets for _, targets in own.test.epoch(9)])
    assert found.tolist() == [{0: 1, 1: 0, 2: 2}[label] for label in labels.tolist()]
    assert own.metric == BalancedCorrect(pytest.approx(2 / 3), 2) and own.loss == MemberLoss(2)
    assert own.input_shape == task.input_shape and own.preprocessing == task.preprocessing


def test_a_member_of_one_class_gives_its_log_odds():
    own = member_task(small_task(), (1,))
    assert own.num_classes == 1 and own.class_names == ("b",) and len(own.train) == 32


def test_a_member_of_all_classes_is_the_task_itself():
    task = small_task()
    assert member_task(task, (0, 1, 2)) is task


def test_fingerprints_are_of_the_classes_and_their_data():
    found = {
        member_task(task, group).fingerprint
        for task in (small_task(), small_task(seed=1))
        for group in ((0,), (1,), (0, 1))
    }
    assert len(found) == 6
    assert member_task(small_task(), (0, 1)).fingerprint == member_task(small_task(), (0, 1)).fingerprint


def test_losses_by_hand():
    # log(1 + e^-2) = .126928 and log(1 + e^1) = 1.313262, halved.
    odds = torch.tensor([[2.0], [1.0]])
    assert MemberLoss(1)(odds, torch.tensor([1, 0])).item() == pytest.approx((0.126928 + 1.313262) / 2, abs=1e-5)
    three = torch.tensor([[0.0, 0.0, 0.0]])
    assert MemberLoss(2)(three, torch.tensor([2])).item() == pytest.approx(1.098612, abs=1e-5)
    both = torch.cat([torch.zeros(2, 1), odds], 1)
    assert MemberLoss(1)(odds, torch.tensor([1, 0])).item() == pytest.approx(
        cross_entropy(both, torch.tensor([1, 0])).item()
    )


def test_right_answers_count_by_how_rare_their_side_is():
    metric = BalancedCorrect(0.2, 2)
    outputs = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    # A right "none of mine" is 1 of 80 %: .625; a right class 1 of 20 %: 2.5.
    assert metric(outputs, torch.tensor([0, 1, 2, 0])).tolist() == pytest.approx([0.625, 2.5, 0.0, 0.0])
    odds, metric = torch.tensor([[1.0], [-1.0], [0.0]]), BalancedCorrect(0.2, 1)
    assert metric(odds, torch.tensor([1, 1, 0])).tolist() == pytest.approx([2.5, 0.0, 0.625])


def test_what_a_wide_member_says_of_other_classes_does_not_count():
    wide = torch.tensor([[1.0, 0.0, 0.0, 9.0], [0.0, 3.0, 0.0, 9.0]])
    targets = torch.tensor([0, 1])
    assert MemberLoss(2)(wide, targets) == MemberLoss(2)(wide[:, :3], targets)
    assert BalancedCorrect(0.5, 2)(wide, targets).tolist() == [1.0, 1.0]


def test_over_a_whole_split_all_right_is_one_and_always_none_is_a_half():
    own = member_task(small_task(), (2,))
    targets = torch.cat([wanted for _, wanted in own.val.epoch(24)])
    right = (targets > 0).float()[:, None] * 2 - 1
    assert own.metric(right, targets).double().mean().item() == pytest.approx(1.0)
    assert own.metric(-torch.ones_like(right), targets).double().mean().item() == pytest.approx(0.5)
    assert own.metric(torch.ones_like(right), targets).double().mean().item() == pytest.approx(0.5)


def test_a_validation_split_without_the_classes_is_refused():
    task = small_task()
    bare = replace(task, val=replace(task.val, labels=torch.zeros(24, dtype=torch.int64)))
    with pytest.raises(
        DataError, match=r"^groups: the validation split holds 0% of classes \[1\]; regroup or split anew"
    ):
        member_task(bare, (1,))
    with pytest.raises(DataError, match=r"holds 100% of classes \[0, 2\]"):
        member_task(bare, (0, 2))
