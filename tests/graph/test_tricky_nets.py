"""Networks that structural pruners trip on: nearly all cut exactly, none cut wrong."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from tricky_images import Plain
from tricky_nets import NETS, NUM_KNOWN, tried

from prunelle.errors import ModelError
from prunelle.graph.cuts import Attribute, Cut, Cuts, replay_
from prunelle.prune.channels import prune_channels

LEAST_EXACT = 26
NEVER = {"ran_differs", "forward_error", "wrong_shape", "crashed"}


@pytest.mark.usefixtures("one_thread")
def test_tricky_networks_are_cut_exactly_or_refused():
    rows = [tried(kind, prune_channels) for kind in NETS]
    statuses = Counter(row["status"] for row in rows)
    assert not NEVER & set(statuses), [row for row in rows if row["status"] in NEVER]
    assert statuses["exact"] >= LEAST_EXACT, [row for row in rows if row["status"] != "exact"]


def test_how_many_there_are():
    assert len(NETS) == 31 and NUM_KNOWN == 27


def first_half(model: nn.Module, alive: bool) -> nn.Module:
    """Plain's first convolution cut to its 8 rows that are alive, or to 8 others."""
    rows = model.a[0].weight.flatten(1).abs().sum(1) > 0
    kept = (rows if alive else ~rows).nonzero().flatten().tolist()
    names = ("a.0.weight", "a.1.weight", "a.1.bias", "a.1.running_mean", "a.1.running_var")
    tensors = [Cut(tensor=name, axis=0, kept=kept) for name in names]
    sizes = [
        Attribute(module="a.0", name="out_channels", value=8),
        Attribute(module="b.0", name="in_channels", value=8),
    ]
    small = copy.deepcopy(model)
    replay_(small, Cuts(tensors=[*tensors, Cut(tensor="b.0.weight", axis=1, kept=kept)], attributes=sizes))
    return small


def refuse(model: nn.Module, example: torch.Tensor) -> nn.Module:
    raise ModelError("not this one")


def narrower(model: nn.Module, example: torch.Tensor) -> nn.Module:
    small = first_half(model, True)
    small.head = nn.Linear(32, 5)
    return small


def misfit(model: nn.Module, example: torch.Tensor) -> nn.Module:
    small = first_half(model, True)
    small.head = nn.Linear(5, 5)
    return small


PRUNERS = {
    "exact": lambda model, example: first_half(model, True),
    "ran_differs": lambda model, example: first_half(model, False),
    "noop": lambda model, example: model,
    "refused": refuse,
    "crashed": lambda model, example: model.nowhere,
    "wrong_shape": narrower,
    "forward_error": misfit,
}


@pytest.mark.parametrize("status", PRUNERS)
def test_right_is_told_from_wrong(status):
    assert tried(Plain, PRUNERS[status])["status"] == status
