"""prune/unit_scores.py and prune/channel_evidence.py: what a score is given, and how rows become units."""

import copy

import numpy as np
import pytest
import torch
from tiny import CLASSES, conv_net, mlp, same_bits, seeded, small_task, state_of
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from prunelle.errors import ModelError, SettingError, ShapeError
from prunelle.graph.sets import analyse
from prunelle.graph.trace import trace
from prunelle.prune.channel_evidence import Evidence
from prunelle.prune.channel_scores import apoz, batch_norm_scale, l1_norm, mean_activation, random, taylor
from prunelle.prune.channels import plan_channels
from prunelle.prune.unit_scores import Scorer, unit_scores

pytestmark = pytest.mark.usefixtures("one_thread")


def analysed(model, inputs):
    return analyse(model, trace(model, inputs))


class Residual(nn.Module):
    """x goes to 2 channels by `first`; `second` adds to them; a layer reads the sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.relu(x + self.second(x)))


class Fused(nn.Module):
    """A weight that the forward puts together from two parameters."""

    def __init__(self):
        super().__init__()
        self.upper, self.lower = nn.Parameter(torch.randn(4, 72)), nn.Parameter(torch.randn(2, 72))
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x):
        made = nn.functional.linear(x.flatten(1), torch.cat([self.upper, self.lower]))
        return self.last(torch.relu(made))


def of_set(tied, scores, number=0):
    return scores[tied.sets[number].units].tolist()


def test_a_unit_scores_the_mean_of_its_rows_over_the_mean_of_their_layer():
    model = Residual()
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]]))  # 1, 3: mean 2
        model.second.weight.copy_(torch.tensor([[5.0, 1.0], [1.0, 1.0]]))  # 6, 2: mean 4
    tied = analysed(model, torch.ones(1, 3))
    assert of_set(tied, unit_scores(model, tied, l1_norm)) == [(0.5 + 1.5) / 2, (1.5 + 0.5) / 2]


def test_the_scale_is_that_of_the_norm_behind():
    model = conv_net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -3.0, 2.0, 2.0]))
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    (producer,) = [p for p in tied.state.producers if tied.graph.tensors[p.weight.name] == "0.weight"]
    assert Evidence(model, None, 0, "").scale(tied, producer).tolist() == [1.0, 3.0, 2.0, 2.0]


def test_without_a_norm_of_its_own_a_channel_takes_those_that_read_its_unit_or_none():
    class Before(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
            self.norm, self.free = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.a(x)
            x = self.norm(x + self.b(torch.relu(x)))
            return self.c(torch.relu(self.free(torch.relu(x))))

    model = Before()
    with torch.no_grad():
        model.norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tied = analysed(model, torch.ones(1, 2, 2, 2))
    scales = {
        tied.graph.tensors[p.weight.name]: Evidence(model, None, 0, "").scale(tied, p).tolist()
        for one in tied.sets
        for p in one.producers
    }
    assert scales["b.weight"] == [1.0, 2.0, 3.0, 4.0] and scales["a.weight"] == [1.0, 2.0, 3.0, 4.0]
    assert np.isnan(scales["free.weight"]).all()
    lengths = model.free.weight.detach().flatten(1).norm(dim=1)
    free = next(i for i, one in enumerate(tied.sets) if one.name == "free")
    assert of_set(tied, unit_scores(model, tied, batch_norm_scale), free) == pytest.approx(
        (lengths / lengths.mean()).tolist()
    )


def test_taylor_agrees_with_gates_put_behind_the_layer():
    model, task = conv_net().eval(), small_task(1280)
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    gate = torch.ones(4, requires_grad=True)
    total, gated = torch.zeros(4), copy.deepcopy(model)
    handle = gated[0].register_forward_hook(lambda module, args, out: out * gate.view(1, -1, 1, 1))
    batches = list(task.train.epoch(128))
    for inputs, targets in batches:
        total += torch.autograd.grad(task.loss(gated(inputs), targets), gate)[0] / len(batches)
    handle.remove()
    found = unit_scores(model, tied, taylor, task=task)
    (first,) = [one for one in tied.sets if one.name == "0"]
    wanted = total.square() / total.square().mean()
    assert found[first.units].tolist() == pytest.approx(wanted.tolist(), rel=1e-3)


def test_gradients_follow_a_weight_that_is_put_together():
    model, task = seeded(Fused), small_task(64)
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    (producer,) = tied.sets[0].producers
    evidence = Evidence(model, task, 0, "taylor")
    found = evidence.gradient(tied, producer)
    assert torch.equal(found, torch.cat([evidence.gradients["upper"], evidence.gradients["lower"]]))


def test_frozen_weights_are_scored_too_and_stay_frozen():
    model, task = mlp().requires_grad_(False), small_task()
    plan_channels(model, torch.ones(1, 2, 6, 6), 0.5, score=taylor, task=task)
    assert not any(p.requires_grad for p in model.parameters())


def test_activations_agree_with_hooks():
    model, task = conv_net().eval(), small_task(1024)
    seen = []
    handle = model[2].register_forward_hook(lambda module, args, out: seen.append(out.detach().clone()))
    with torch.no_grad():
        for inputs, _ in task.train.epoch(128):
            model(inputs)
    handle.remove()
    values = torch.cat(seen).movedim(1, 0).flatten(1).double()
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    (first,) = [one for one in tied.sets if one.name == "0"]
    for score, wanted in ((apoz, (values > 0).double().mean(1)), (mean_activation, values.mean(1))):
        found = unit_scores(model, tied, score, task=task)[first.units]
        assert found.tolist() == pytest.approx((wanted / wanted.mean()).tolist())


def test_data_is_looked_at_once_and_the_model_stays_as_it_was(monkeypatch):
    model, task = conv_net(), small_task()
    before = state_of(model)
    scorer = Scorer(model, taylor, 0, task)
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    first = scorer(tied)
    monkeypatch.setattr(type(task.train), "epoch", None)
    assert np.array_equal(scorer(tied), first)
    assert same_bits(state_of(model), before) and model.training


def test_seeds_of_random_scores():
    model = conv_net()
    tied = analysed(model, torch.ones(1, 2, 6, 6))
    first, again, other = (unit_scores(model, tied, random, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_refusals():
    model, task, image = conv_net(), small_task(), torch.ones(1, 2, 6, 6)

    def asks(weight, fisher):
        return weight

    with pytest.raises(SettingError, match=r"score asks: asks for \['fisher'\], only \('gradient', 'scale', 'zeros'"):
        plan_channels(model, image, score=asks)
    for score in (taylor, apoz, mean_activation):
        with pytest.raises(SettingError, match=f"score {score.__name__}: looks at training images, so a task must be"):
            plan_channels(model, image, score=score)
    with pytest.raises(ShapeError, match=r"score <lambda>: gave \(4, 2, 3, 3\) for 0, must be one number for each of"):
        plan_channels(model, image, score=lambda weight: weight)
    with pytest.raises(
        ModelError, match=r"score <lambda>: says nothing of \d channels of \d; name it in skip, or take"
    ):
        plan_channels(model, image, score=lambda weight: weight.flatten(1).sum(1) * torch.nan)
    normed = nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(72, 10)), nn.ReLU(), nn.Linear(10, CLASSES))
    with pytest.raises(SettingError, match=r"score taylor: the weight of 1 is computed by .*; name the layer in skip"):
        plan_channels(normed, image, score=taylor, task=task)
