"""prune/channel_scores.py: numbers worked out by hand, and slow plain versions."""

import pytest
import torch

from prunelle.prune import channel_scores
from prunelle.prune.channel_scores import (
    apoz,
    batch_norm_scale,
    geometric_median,
    l1_norm,
    l2_norm,
    mean_activation,
    random,
    taylor,
)

WEIGHT = torch.tensor([[[3.0], [-4.0]], [[0.0], [1.0]], [[0.0], [0.0]]])


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_norms_by_hand():
    assert l2_norm(WEIGHT).tolist() == [5.0, 1.0, 0.0]
    assert l1_norm(WEIGHT).tolist() == [7.0, 1.0, 0.0]


def test_the_geometric_median_by_hand():
    # distances: 0-1 sqrt(9 + 25), 0-2 5, 1-2 1
    far = 34**0.5
    assert geometric_median(WEIGHT).tolist() == pytest.approx([far + 5, far + 1, 6])


def test_a_row_amid_the_others_goes_before_a_short_one():
    """What sets it apart from a norm: the row (5) is replaced by its neighbours, the row (0) by none."""
    rows = torch.tensor([[0.0], [4.0], [5.0], [6.0], [7.0]])
    assert geometric_median(rows).argmin() == 2 and l2_norm(rows).argmin() == 0


def test_the_geometric_median_agrees_with_a_plain_loop_also_in_chunks(monkeypatch):
    weight = noise(17, 3, 3, 3) + 100
    plain = [sum(float((a.double() - b.double()).norm()) for b in weight) for a in weight]
    assert geometric_median(weight).tolist() == pytest.approx(plain)
    monkeypatch.setattr(channel_scores, "CHUNK", 40)
    assert geometric_median(weight).tolist() == pytest.approx(plain)


def test_equal_rows_are_no_distance_apart():
    weight = torch.full((4, 1000), 3.0)
    assert geometric_median(weight).tolist() == [0.0] * 4


def test_taylor_by_hand():
    gradient = torch.tensor([[[1.0], [1.0]], [[5.0], [-3.0]], [[7.0], [7.0]]])
    assert taylor(WEIGHT, gradient).tolist() == [1.0, 9.0, 0.0]


def test_taylor_is_the_squared_gradient_of_a_gate():
    weight, inputs = noise(5, 4).requires_grad_(), noise(8, 4)
    gate = torch.ones(5, requires_grad=True)
    loss = (inputs @ (weight * gate[:, None]).T).square().sum()
    of_weight, of_gate = torch.autograd.grad(loss, [weight, gate])
    assert torch.allclose(taylor(weight.detach(), of_weight), of_gate.square(), rtol=1e-4)


def test_a_norms_scale_counts_by_its_size_and_a_row_without_one_by_its_length():
    scale = torch.tensor([-0.5, 0.25, torch.nan])
    assert batch_norm_scale(WEIGHT + 1, scale).tolist() == pytest.approx([0.5, 0.25, 2**0.5])


def test_activations_by_hand():
    assert apoz(WEIGHT, torch.tensor([0.25, 0.0, 1.0])).tolist() == [0.75, 1.0, 0.0]
    assert mean_activation(WEIGHT, torch.tensor([-2.0, 0.5, 0.0])).tolist() == [2.0, 0.5, 0.0]


def test_random_scores_are_blind_to_the_weight():
    first, second = (random(w, torch.Generator().manual_seed(3)) for w in (WEIGHT, WEIGHT * 7))
    assert torch.equal(first, second) and first.shape == (3,) and first.min() >= 0 and first.max() < 1
