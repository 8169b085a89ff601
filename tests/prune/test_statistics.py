from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import conv_net, mlp, same_bits, small_task, state_of
from torch import nn

from prunelle.data.arrays import ArraySplit
from prunelle.errors import SettingError, ShapeError
from prunelle.measure.params import prunable
from prunelle.prune.by_gradient import magnitude_times_gradient
from prunelle.prune.by_weight import magnitude, random
from prunelle.prune.statistics import mean_gradients, score_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def generator():
    return torch.Generator().manual_seed(0)


def test_zeros_score_minus_infinity_whatever_the_score():
    weights = {"a": nn.Parameter(torch.tensor([0.0, -2.0, -0.0]))}
    assert score_weights(weights, magnitude, generator())["a"].tolist() == [float("-inf"), 2.0, float("-inf")]
    assert score_weights(weights, random, generator())["a"].isinf().tolist() == [True, False, True]


def test_the_mean_gradient_is_the_mean_of_the_batches():
    model, task = mlp(), small_task(300)
    weights = prunable(model)
    found = mean_gradients(model, weights, task, num_batches=2)
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    for number, (inputs, targets) in enumerate(task.train.epoch(128)):
        if number < 2:
            model.zero_grad()
            task.loss(model(inputs), targets).backward()
            for name, w in weights.items():
                total[name] += w.grad / 2
    assert all(torch.allclose(found[name], total[name], atol=1e-7) for name in weights)


def test_gathering_leaves_the_model_as_it_was():
    model = conv_net()
    model[1].eval()
    before = state_of(model)
    mean_gradients(model, prunable(model), small_task())
    assert same_bits(state_of(model), before)
    assert model.training and not model[1].training
    assert all(p.grad is None for p in model.parameters())


def test_flags_come_back_after_an_error_too():
    model, task = conv_net(), small_task()
    with pytest.raises(ZeroDivisionError):
        mean_gradients(model, prunable(model), replace(task, loss=lambda o, t: 1 / 0))
    assert model.training


def test_gradients_are_drawn_from_all_of_train_and_not_from_its_first_class():
    task, seen = small_task(), []
    images = torch.zeros(3000, 2, 6, 6, dtype=torch.uint8)
    labels = torch.arange(3000) // 1000  # as an image folder stores them
    split = ArraySplit(images, labels, task.preprocessing)

    def loss(outputs, targets):
        seen.extend(targets.tolist())
        return outputs.sum()

    model = mlp()
    score_weights(prunable(model), magnitude_times_gradient, generator(), model, replace(task, train=split, loss=loss))
    assert len(seen) == 1280 and all(300 < seen.count(label) < 550 for label in range(3))


def test_a_score_may_have_settings_of_its_own():
    def power(weight, p=2.0):
        return weight.abs() ** p

    weights = {"a": nn.Parameter(torch.tensor([3.0]))}
    assert score_weights(weights, power, generator())["a"].item() == 9.0
    assert score_weights(weights, partial(power, p=1.0), generator())["a"].item() == 3.0


def test_refusals():
    weights = {"fc": nn.Parameter(torch.ones(2, 3))}

    def asks(weight, activations):
        return weight

    with pytest.raises(SettingError, match=r"score asks: asks for \['activations'\], only .* can be given"):
        score_weights(weights, asks, generator())
    with pytest.raises(SettingError, match="score magnitude_times_gradient: needs gradients, so a model and a task"):
        score_weights(weights, magnitude_times_gradient, generator())
    with pytest.raises(ShapeError, match=r"gave \(2,\) of torch.float32 for fc, must be float scores of"):
        score_weights(weights, lambda weight: weight.sum(1), generator())
    with pytest.raises(ShapeError, match=r"gave \(2, 3\) of torch.int64 for fc"):
        score_weights(weights, lambda weight: weight.long(), generator())
