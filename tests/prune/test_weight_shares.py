"""prune/weight_shares.py: more of the weights that make more multiply-adds."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from tiny import conv_net, mlp, new_run, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.errors import ModelError, SettingError, ShapeError
from prunelle.measure.macs import count_macs
from prunelle.measure.params import prunable
from prunelle.prune.by_weight import magnitude
from prunelle.prune.select import over_all, per_layer
from prunelle.prune.weight_shares import by_cost, by_shares, scope_for, weight_costs
from prunelle.prune.weights import PruneGradually, PruneWeights
from prunelle.train.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")

RUN = SimpleNamespace(device=torch.device("cpu"), generator=lambda *names: torch.Generator().manual_seed(0))


def test_scores_are_compared_over_the_root_of_the_cost_by_hand():
    scores = {"conv": torch.tensor([[9.0, 7.0], [2.0, 30.0]]), "linear": torch.tensor([1.0, 1.8, 3.0])}
    costs = {"conv": 16.0, "linear": 1.0}
    # over 16 ** 0.5 = 4: 2.25, 1.75, 0.5, 7.5 beside 1, 1.8, 3: of seven the lowest four are 0.5, 1, 1.75, 1.8
    kept = by_cost(scores, 4 / 7, costs, strength=0.5)
    assert kept["conv"].tolist() == [[True, False], [False, True]] and kept["linear"].tolist() == [False, False, True]
    # over 16 ** 1: 0.56, 0.44, 0.125, 1.875 beside 1, 1.8, 3
    kept = by_cost(scores, 4 / 7, costs, strength=1.0)
    assert kept["conv"].tolist() == [[False, False], [False, True]] and kept["linear"].tolist() == [False, True, True]


def test_strength_0_costs_that_are_equal_and_costs_below_1_change_nothing():
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(5, 4, generator=generator), "b": torch.rand(9, generator=generator)}
    wanted = over_all(scores, 0.6)
    for costs, strength in (({"a": 9.0, "b": 1.0}, 0.0), ({"a": 7.0, "b": 7.0}, 0.5), ({"a": 0.0, "b": 0.25}, 0.5)):
        kept = by_cost(scores, 0.6, costs, strength)
        assert all(torch.equal(kept[name], wanted[name]) for name in scores)


def test_no_layer_vanishes_and_sparsity_0_keeps_all():
    scores = {"dear": torch.tensor([1.0, 2.0]), "cheap": torch.arange(3.0, 99.0)}
    costs = {"dear": 1e9, "cheap": 1.0}
    assert by_cost(scores, 0.5, costs)["dear"].tolist() == [False, True]
    assert by_cost(scores, 0.5, costs, min_kept=0)["dear"].tolist() == [False, False]
    assert by_cost(scores, 0.0, costs)["dear"].all()


def test_half_floats_are_divided_in_float32():
    # in float16 both quotients would be 0, and the first would go
    scores = {"a": torch.tensor([2e-6, 1e-6], dtype=torch.float16), "b": torch.tensor([1.0], dtype=torch.float16)}
    assert by_cost(scores, 1 / 3, {"a": 1e6, "b": 1.0}, 0.5, min_kept=0)["a"].tolist() == [True, False]


def test_refusals():
    with pytest.raises(ShapeError, match=r"by_cost: b has no cost; give one for every weight that is scored\."):
        by_cost({"a": torch.ones(2), "b": torch.ones(2)}, 0.5, {"a": 1.0})
    with pytest.raises(SettingError, match="b has scores that are NaN"):
        by_cost({"b": torch.tensor([float("nan")])}, 0.5, {})
    with pytest.raises(ModelError, match="does not run on an input"):
        weight_costs(conv_net(), (3, 6, 6))


def test_a_weight_costs_the_places_where_it_is_read_by_hand():
    # 6x6 images: the first convolution has 36 outputs a channel, the second, in two groups, 2x2
    assert weight_costs(conv_net(), (2, 6, 6)) == {"0.weight": 36.0, "3.weight": 4.0, "8.weight": 1.0}


@pytest.mark.parametrize("make", [conv_net, mlp])
def test_costs_times_weights_are_the_multiply_adds(make):
    model = make()
    pruned = PruneWeights(0.7)(model, small_task(), RUN)
    costs = weight_costs(pruned, (2, 6, 6))
    count = count_macs(pruned, torch.zeros(1, 2, 6, 6))
    assert sum(costs[name] * w.numel() for name, w in prunable(pruned).items()) == count.total
    assert sum(costs[name] * int(w.count_nonzero()) for name, w in prunable(pruned).items()) == count.nonzero


class Twice(nn.Module):
    """One layer that runs twice, its weight also another's; an LSTM of two matrices; a weight that is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.idle = nn.Linear(6, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.second(self.first(self.first(images[:, 0])))
        return self.lstm(rows)[0].mean(1)


def test_what_runs_twice_or_has_two_layers_costs_the_sum():
    costs = weight_costs(seeded(Twice), (2, 6, 6))  # six rows an image
    assert costs == {"first.weight": 18.0, "lstm.weight_ih_l0": 6.0, "lstm.weight_hh_l0": 6.0, "idle.weight": 0.0}


def test_a_model_without_such_weights_has_no_costs():
    assert weight_costs(nn.Flatten(), (2, 6, 6)) == {}


def test_costs_are_filled_in_only_where_they_are_asked_for():
    model, task = conv_net(), small_task()
    assert scope_for(per_layer, model, task) is per_layer
    own = partial(by_cost, costs={"x": 1.0})
    assert scope_for(own, model, task) is own
    filled = scope_for(partial(by_cost, strength=0.5), model, task)
    assert filled.keywords == {"strength": 0.5, "costs": {"0.weight": 36.0, "3.weight": 4.0, "8.weight": 1.0}}


def test_one_shot_leaves_fewer_multiply_adds_and_as_many_zeros():
    model, task = conv_net(), small_task()
    image = torch.zeros(1, *task.input_shape)
    plain, thrifty = (PruneWeights(0.5, scope=scope)(model, task, RUN) for scope in (over_all, by_cost))
    weights = prunable(model)
    kept = by_cost({n: magnitude(w.detach()) for n, w in weights.items()}, 0.5, weight_costs(model, (2, 6, 6)))
    assert all(torch.equal(w != 0, kept[name]) for name, w in prunable(thrifty).items())
    zeros = [sum(int((w == 0).sum()) for w in prunable(net).values()) for net in (plain, thrifty)]
    assert zeros[0] == zeros[1] == round(0.5 * sum(w.numel() for w in weights.values()))
    assert count_macs(thrifty, image).nonzero < count_macs(plain, image).nonzero


def test_gradual_pruning_takes_it_and_strength_0_is_the_global_scope(tmp_path):
    settings, task = TrainSettings(epochs=3, lr=0.05, batch_size=16), small_task()

    def pruned(scope):
        step = PruneGradually(0.8, settings, scope=scope, frequency=2)
        return step(conv_net(), task, new_run(tmp_path, scope=str(scope)))

    plain, none, thrifty = pruned(over_all), pruned(partial(by_cost, strength=0.0)), pruned(by_cost)
    assert same_bits(state_of(plain), state_of(none)) and not same_bits(state_of(plain), state_of(thrifty))
    image = torch.zeros(1, *task.input_shape)
    assert count_macs(thrifty, image).nonzero < count_macs(plain, image).nonzero


def test_layers_lose_their_shares_by_hand():
    scores = {"a": torch.tensor([4.0, 3.0, 2.0, 1.0]), "b": torch.arange(8.0), "c": torch.ones(4)}
    # 2 of 4 and 6 of 8 of 16 are a half in all; c, whose share is 0, loses none
    kept = by_shares(scores, 0.5, {"a": 0.5, "b": 0.75, "c": 0.0})
    assert kept["a"].tolist() == [True, True, False, False]
    assert kept["b"].tolist() == [False] * 6 + [True] * 2 and kept["c"].all()
    # half of that on the way there, and only the proportions count
    half = by_shares(scores, 0.25, {"a": 50, "b": 75, "c": 0})
    assert [int((~half[name]).sum()) for name in "abc"] == [1, 3, 0]


def test_equal_shares_are_one_sparsity_for_all_and_none_keeps_all():
    scores = {"a": torch.rand(7, 3), "b": torch.rand(11)}
    wanted = per_layer(scores, 0.4)
    found = by_shares(scores, 0.4, {"a": 0.9, "b": 0.9})
    assert all(torch.equal(found[name], wanted[name]) for name in scores)
    assert all(mask.all() for mask in by_shares(scores, 0.0, {"a": 0.1, "b": 0.9}).values())


def test_shares_that_cannot_be_are_refused():
    scores = {"a": torch.rand(10), "b": torch.rand(10)}
    with pytest.raises(ShapeError, match="by_shares: b has no share; give one for every weight that is scored"):
        by_shares(scores, 0.5, {"a": 0.5})
    with pytest.raises(SettingError, match=r"at a sparsity of 0\.8 b would lose 1\.28 of its weights, must be below 1"):
        by_shares(scores, 0.8, {"a": 0.2, "b": 0.8})
