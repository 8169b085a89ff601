"""Losses of several members from one evaluation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

from prunelle.tickets.fused_loss import entropies, member_losses, reads_inputs
from prunelle.train.losses import Distillation, Plain, SmoothedLabels


def test_by_hand():
    """Equal logits of two classes cost ln 2; a logit of ln 3 for the right one costs ln 4 - ln 3."""
    outputs = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    losses = member_losses(Plain(cross_entropy), outputs, outputs, torch.tensor([1, 0]), 2)
    assert losses.tolist() == pytest.approx([math.log(2), math.log(4 / 3)])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_without_a_call_a_member(smoothing: float, soft: bool):
    drawn = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 4, generator=drawn, dtype=torch.float64)
    targets = torch.tensor([0, 3, -100, 1, 2, 2])
    if soft:
        targets = torch.rand(6, 4, generator=drawn, dtype=torch.float64)
    alone = [cross_entropy(outputs[a : a + 3], targets[a : a + 3], label_smoothing=smoothing) for a in (0, 3)]
    torch.testing.assert_close(entropies(outputs, targets, 2, smoothing), torch.stack(alone), rtol=0, atol=1e-15)


@pytest.mark.parametrize("shared", [False, True])
def test_an_objective_that_reads_the_inputs(shared: bool):
    def near(inputs, outputs, targets):
        return mse_loss(outputs, inputs) + 0 * targets.sum()

    drawn = torch.Generator().manual_seed(0)
    inputs, outputs = torch.randn(3 if shared else 6, 2, generator=drawn), torch.randn(6, 2, generator=drawn)
    losses = member_losses(near, inputs, outputs, torch.zeros(6), 2)
    own = [inputs, inputs] if shared else [inputs[:3], inputs[3:]]
    assert losses.tolist() == [float(mse_loss(outputs[:3], own[0])), float(mse_loss(outputs[3:], own[1]))]


def test_who_reads_the_inputs():
    assert not reads_inputs(Plain(cross_entropy)) and not reads_inputs(SmoothedLabels(0.1))
    assert reads_inputs(Distillation(Plain(cross_entropy), torch.nn.Linear(1, 1))) and reads_inputs(lambda *_: None)
