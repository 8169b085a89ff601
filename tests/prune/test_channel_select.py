"""prune/channel_select.py: how amounts become widths."""

import numpy as np
import pytest
import torch
from torch import nn

from prunelle.errors import SettingError
from prunelle.graph.sets import analyse
from prunelle.graph.trace import trace
from prunelle.models.load import build
from prunelle.prune.channel_select import Limits, over_all_sets, per_layer, per_set


def analysed(model, inputs):
    return analyse(model, trace(model, inputs))


SCOPES = (per_set, per_layer, over_all_sets)


@pytest.fixture(scope="module")
def resnet():
    """Its shortcuts put 16 channels amid 32, and those amid 64: one set of 64 units in three nested widths."""
    return analysed(build("resnet20"), torch.ones(1, 3, 32, 32))


def widths(tied, removed):
    """What every layer keeps."""
    return [int((~removed[tied.components.units(p.labels)]).sum()) for one in tied.sets for p in one.producers]


def noise(tied, seed=0):
    return np.random.default_rng(seed).random(len(tied.components.root))


@pytest.mark.parametrize("multiple", [4, 8, 16])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("amount", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_every_layers_width_is_a_multiple(resnet, scope, multiple, amount):
    scores = noise(resnet)
    removed = scope(resnet, scores, amount, Limits(multiple=multiple))
    free = scope(resnet, scores, amount, Limits())
    assert all(width % multiple == 0 and width > 0 for width in widths(resnet, removed))
    assert all(new >= old for new, old in zip(widths(resnet, removed), widths(resnet, free), strict=True))
    assert not (removed & ~free).any()
    if amount == 0:
        assert not removed.any()


@pytest.mark.parametrize("scope", SCOPES)
def test_every_layer_keeps_its_floor(resnet, scope):
    removed = scope(resnet, noise(resnet), 0.99, Limits(floor=5))
    assert min(widths(resnet, removed)) == 5


def test_shares_by_hand():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    tied = analysed(model, torch.ones(1, 3))
    scores = np.zeros(len(tied.components.root))
    first, second = (one.units for one in tied.sets)
    scores[first], scores[second] = [4, 3, 2, 1], [10, 11, 12, 13, 0, 15, 16, 17]
    gone = per_set(tied, scores, 0.5, Limits())
    assert gone[first].tolist() == [False, False, True, True]
    assert gone[second].tolist() == [True, True, True, False, True, False, False, False]
    gone = over_all_sets(tied, scores, 0.26, Limits())
    assert (
        gone[first].tolist() == [False, False, True, True]
        and gone[second].tolist() == [False] * 4 + [True] + [False] * 3
    )
    assert np.array_equal(per_layer(tied, scores, 0.5, Limits()), per_set(tied, scores, 0.5, Limits()))


def test_limits_are_checked():
    with pytest.raises(SettingError, match="floor is 0, multiple 1; both must be 1 or more"):
        Limits(floor=0)
    with pytest.raises(SettingError, match="floor is 1, multiple 0"):
        Limits(multiple=0)
