"""What --verify holds a cut against, and that each of its complaints can come."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunelle.prune.channels import ChannelPlan, plan_channels
from prunelle.recipes.verify import EXACT, ROUNDED, casts, is_constant, verify, without_gradient

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (3, 6, 6)


class Small(nn.Module):
    """Two convolutions with a norm between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.norm(self.a(x)).relu()).relu().mean((2, 3)))


class Casting(Small):
    """Goes through float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float().to(x.dtype))


def cut(kind: type[nn.Module] = Small) -> tuple[nn.Module, ChannelPlan, nn.Module]:
    torch.manual_seed(0)
    model = kind().eval()
    plan = plan_channels(model, torch.randn(1, *SHAPE))
    return model, plan, plan.apply(model)


def test_a_right_cut_has_no_problems() -> None:
    model, plan, small = cut()
    before = copy.deepcopy(model.state_dict())
    verdict = verify(model, plan, small, SHAPE, lambda: copy.deepcopy(small))
    assert verdict.ok and verdict.problems == () and verdict.casts == ()
    assert 0 <= verdict.max_rel_err <= EXACT == verdict.limit
    assert verdict.to_json()["ok"] is True
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_network_that_casts_is_held_less_tightly_and_named() -> None:
    model, plan, small = cut(Casting)
    verdict = verify(model, plan, small, SHAPE, lambda: copy.deepcopy(small))
    assert verdict.casts and verdict.limit == ROUNDED and verdict.ok
    assert casts(Small(), torch.randn(1, *SHAPE)) == ()


def test_a_cut_of_other_channels_than_were_planned_is_found() -> None:
    model, plan, small = cut()
    units = plan.tied.sets[0].units
    removed = plan.removed.copy()
    removed[units] = np.roll(removed[units], 1)
    wrong = replace(plan, removed=removed)
    verdict = verify(model, wrong, small, SHAPE, lambda: copy.deepcopy(small))
    assert not verdict.ok and verdict.max_rel_err > 1e-3
    assert "cut and masked differ by" in verdict.problems[0]


def test_another_network_after_loading_is_found() -> None:
    model, plan, small = cut()
    other = copy.deepcopy(small)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    verdict = verify(model, plan, small, SHAPE, lambda: other)
    assert verdict.problems == ("saved and loaded it is another network",)


def test_constant_outputs_and_lost_gradients_are_told_from_good_ones() -> None:
    images = torch.randn(3, *SHAPE)
    model = Small().eval()
    assert not is_constant(model, images)
    still = copy.deepcopy(model)
    with torch.no_grad():
        still.head.weight.zero_()
    assert is_constant(still, images)
    assert without_gradient(model, model, images) == ""
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.a.weight[0, 0, 0, 0] = float("inf")
    assert "not finite" in without_gradient(broken, model, images)
