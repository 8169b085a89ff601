import numpy as np
import pytest
import torch
from tiny import seeded
from torch import nn

from prunelle.graph import costs
from prunelle.graph.sets import Tied, analyse
from prunelle.graph.trace import trace
from prunelle.prune.channel_select import Limits
from prunelle.prune.channel_shares import by_cost
from prunelle.prune.channels import plan_channels

pytestmark = pytest.mark.usefixtures("one_thread")


def two_stages() -> nn.Module:
    """A channel of the first set costs 9 * 64 * (2 + 4) multiply-adds, one of the second, a linear layer's, 2 + 1."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2),
        )
    )  # fmt: skip


INPUTS = torch.zeros(1, 2, 8, 8)


def analysed(model: nn.Module, inputs: torch.Tensor) -> Tied:
    return analyse(model, trace(model, inputs))


def test_shares_follow_the_root_of_the_cost_by_hand():
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 54))
    tied = analysed(model, torch.zeros(1, 6))
    # 16 and 64 multiply-adds a unit: as (6 + 10) and (10 + 54); roots 4 and 8, so the second loses twice the share
    scores = np.arange(len(tied.components.root), dtype=np.float64)
    removed = by_cost(tied, scores, 0.45, Limits())
    assert [int(removed[one.units].sum()) for one in tied.sets] == [3, 6]
    for one in tied.sets:
        assert removed[one.units].tolist() == sorted(removed[one.units], reverse=True)  # the lowest scores


def test_nothing_asked_nothing_removed_and_every_set_keeps_its_floor():
    tied = analysed(two_stages(), INPUTS)
    scores = np.zeros(len(tied.components.root))
    assert not by_cost(tied, scores, 0.0, Limits()).any()
    most = by_cost(tied, scores, 1.0, Limits(floor=2))
    assert [int((~most[one.units]).sum()) for one in tied.sets] == [2] * len(tied.sets)


def test_the_same_scores_in_sets_alike_go_one_by_one():
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 8))
    tied = analysed(model, torch.zeros(1, 8))
    scores = np.arange(len(tied.components.root), dtype=np.float64)
    counts = {int(by_cost(tied, scores, amount, Limits()).sum()) for amount in np.linspace(0, 0.75, 25)}
    assert counts == set(range(25))


def test_a_target_in_multiply_adds_is_met_closely():
    model = two_stages()
    plan = plan_channels(model, INPUTS, 0.4, of="macs", scope=by_cost)
    tied = plan.tied
    nothing = np.zeros_like(plan.removed)
    assert costs.macs(tied, plan.removed) <= 0.6 * costs.macs(tied, nothing)
    assert plan.apply(model)(INPUTS).shape == (1, 2)
