"""prune/by_*.py by hand; what all scores owe is in tests/contracts/test_scores.py."""

import torch

from prunelle.prune.by_gradient import magnitude_times_gradient
from prunelle.prune.by_weight import magnitude, random, unit_magnitude


def test_magnitude():
    assert magnitude(torch.tensor([[-3.0, 0.5], [-0.0, 2.0]])).tolist() == [[3.0, 0.5], [0.0, 2.0]]


def test_small_units_come_last_by_hand():
    # rows of norms 5, 10 and 0: halves to the second power are quarters
    found = unit_magnitude(torch.tensor([[3.0, -4.0], [6.0, 8.0], [0.0, 0.0]]), power=2.0, fewest=3)
    assert found.tolist() == [[0.75, 1.0], [6.0, 8.0], [0.0, 0.0]]


def test_units_that_are_equal_kernels_and_power_0_score_by_magnitude():
    alike, kernels = torch.tensor([[0.6, -0.8], [1.0, 0.0]]), torch.randn(4, 3, 5, 5)
    assert torch.allclose(unit_magnitude(alike, fewest=2), alike.abs())
    assert torch.equal(unit_magnitude(kernels), kernels.abs())
    assert torch.equal(unit_magnitude(kernels[0, 0], 0.0, 2), kernels[0, 0].abs())
    assert not unit_magnitude(torch.zeros(3, 3), fewest=2).any()


def test_classes_are_no_units_that_may_vanish():
    classes = torch.randn(10, 500) * torch.arange(1.0, 11.0)[:, None]
    assert torch.equal(unit_magnitude(classes), classes.abs())
    assert not torch.equal(unit_magnitude(classes, fewest=10), classes.abs())


def test_magnitude_times_gradient():
    found = magnitude_times_gradient(torch.tensor([2.0, -3.0, 5.0]), torch.tensor([-1.0, 0.5, 0.0]))
    assert found.tolist() == [2.0, 1.5, 0.0]


def test_random_is_uniform_and_blind_to_the_weight():
    draws = [random(w, torch.Generator().manual_seed(3)) for w in (torch.zeros(10_000), torch.full((10_000,), 9.0))]
    assert torch.equal(*draws)
    assert draws[0].min() >= 0 and draws[0].max() < 1 and abs(draws[0].mean() - 0.5) < 0.02
    assert not torch.equal(draws[0], random(torch.zeros(10_000), torch.Generator().manual_seed(4)))


def test_half_floats_get_float32_scores():
    found = random(torch.zeros(4096, dtype=torch.bfloat16), torch.Generator().manual_seed(0))
    assert found.dtype == torch.float32 and found.unique().numel() > 4000
