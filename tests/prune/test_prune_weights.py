"""prune/weights.py: the steps."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny import bits, conv_net, mlp, new_run, same_bits, small_task, state_of
from torch import nn

from prunelle.errors import DivergedError, SettingError
from prunelle.measure.params import prunable
from prunelle.prune.by_gradient import magnitude_times_gradient
from prunelle.prune.by_weight import magnitude, random
from prunelle.prune.select import over_all, per_layer
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain, prune_and_retrain, zero_share
from prunelle.schedules import constant, linear
from prunelle.train import loop
from prunelle.train.optimizers import Sgd
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.stage import Train

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=4, lr=0.05, batch_size=16)


def num_zeros(model: nn.Module) -> int:
    return sum(int((w == 0).sum()) for w in prunable(model).values())


def size(model: nn.Module) -> int:
    return sum(w.numel() for w in prunable(model).values())


def all_zeros_are_plus_zero(model: nn.Module) -> bool:
    return all(not (w[w == 0].signbit()).any() for w in prunable(model).values())


def test_the_smallest_weights_go():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -5.0], [3.0, 0.2]]))
        model[1].weight.copy_(torch.tensor([[-0.3, 4.0]]))
    pruned = PruneWeights(0.5)(model, small_task(), new_run_of_nothing())
    assert pruned[0].weight.tolist() == [[0.0, -5.0], [3.0, 0.0]] and pruned[1].weight.tolist() == [[0.0, 4.0]]
    assert torch.equal(pruned[0].bias, model[0].bias)


class NoRun:
    device = torch.device("cpu")

    def generator(self, *names):
        return torch.Generator().manual_seed(0)


def new_run_of_nothing():
    return NoRun()


@pytest.mark.parametrize("score", [magnitude, random, magnitude_times_gradient])
@pytest.mark.parametrize("scope", [over_all, per_layer])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_one_shot(sparsity, scope, score):
    model = conv_net()
    before = state_of(model)
    pruned = PruneWeights(sparsity, score, scope)(model, small_task(), new_run_of_nothing())
    assert same_bits(state_of(model), before)
    if scope is over_all:
        assert num_zeros(pruned) == round(sparsity * size(model))
    else:
        assert all(int((w == 0).sum()) == round(sparsity * w.numel()) for w in prunable(pruned).values())
    kept = {name: torch.where(w != 0, before[name], 0.0) for name, w in prunable(pruned).items()}
    assert same_bits(state_of(pruned), {**before, **kept})
    assert all_zeros_are_plus_zero(pruned)


@pytest.mark.parametrize("shape", [constant, linear, PruneGradually.shape])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.97])
def test_gradual_pruning_reaches_exactly_what_was_asked(tmp_path, sparsity, shape):
    model, task = conv_net(), small_task()
    before = state_of(model)
    step = PruneGradually(sparsity, SETTINGS, frequency=3, shape=shape)
    pruned = step(model, task, new_run(tmp_path))
    assert num_zeros(pruned) == round(sparsity * size(model)) and all_zeros_are_plus_zero(pruned)
    assert same_bits(state_of(model), before)
    assert not pruned.training


def test_at_sparsity_0_gradual_pruning_is_training(tmp_path):
    trained = Train(SETTINGS, "x")(conv_net(), small_task(), new_run(tmp_path))
    pruned = PruneGradually(0.0, SETTINGS, name="x")(conv_net(), small_task(), new_run(tmp_path, b=1))
    retrained = Retrain(SETTINGS, "x")(conv_net(), small_task(), new_run(tmp_path, c=1))
    assert same_bits(state_of(pruned), state_of(trained)) and same_bits(state_of(retrained), state_of(trained))


def test_sparsity_rises_along_the_ramp_and_never_falls(tmp_path, monkeypatch):
    seen, update_ = [], loop.update_

    def watch(model, *args):
        seen.append(num_zeros(model))
        return update_(model, *args)

    monkeypatch.setattr(loop, "update_", watch)
    model = mlp()
    step = PruneGradually(0.9, SETTINGS, shape=linear, begin=0.25, end=0.75, frequency=2)
    step(model, small_task(), new_run(tmp_path))
    # 12 updates: the ramp goes from update 3 to 9, set at 3, 5, 7, 9
    total, third = size(model), 0.9 / 3
    wanted = [0] * 5 + [third] * 2 + [2 * third] * 2 + [0.9] * 3
    assert seen == [round(share * total) for share in wanted]


def test_once_zero_is_zero_for_good(tmp_path, monkeypatch):
    gone, update_ = [], loop.update_

    def watch(model, *args):
        gone.append(torch.cat([(w == 0).flatten() for w in prunable(model).values()]))
        return update_(model, *args)

    monkeypatch.setattr(loop, "update_", watch)
    PruneGradually(0.9, SETTINGS, frequency=1, score=magnitude_times_gradient)(mlp(), small_task(), new_run(tmp_path))
    assert all((later | ~earlier).all() for earlier, later in pairwise(gone))
    assert not gone[0].any() and gone[-1].any()


@pytest.mark.parametrize("scope", [over_all, per_layer])
def test_zeros_that_were_there_before_stay(tmp_path, scope):
    model = mlp()
    with torch.no_grad():
        model[3].weight[:2] = 0.0  # two thirds of the last layer, few of all
    pruned = PruneGradually(0.2, SETTINGS, scope=scope, frequency=2)(model, small_task(), new_run(tmp_path))
    assert not pruned[3].weight[:2].any()
    again = PruneGradually(0.1, SETTINGS)(pruned, small_task(), new_run(tmp_path, b=1))
    zeros = {name: w == 0 for name, w in prunable(pruned).items()}
    assert all((w == 0)[zeros[name]].all() for name, w in prunable(again).items())


def test_retraining_holds_zeros_and_trains_the_rest(tmp_path):
    task = small_task()
    sparse = PruneWeights(0.8)(conv_net(), task, new_run(tmp_path))
    before = state_of(sparse)
    trained = Retrain(replace(SETTINGS, optimizer=Sgd(0.9, weight_decay=1e-3)))(sparse, task, new_run(tmp_path))
    assert same_bits(state_of(sparse), before)
    for name, w in prunable(trained).items():
        assert torch.equal(w == 0, before[name] == 0) and not torch.equal(w, before[name])
    assert all_zeros_are_plus_zero(trained)


def test_early_stopping_waits_for_the_ramp_and_chooses_behind_it(tmp_path):
    told = iter([0.9, 0.8, 0.7, 0.2, 0.3, 0.25, 0.1])  # the best are before the ramp's end
    task = replace(small_task(), metric=lambda outputs, targets: torch.full((len(targets),), next(told)))
    settings = replace(SETTINGS, epochs=8, early_stop=EarlyStop(patience=2, target=0.85))
    run, model = new_run(tmp_path), mlp()
    pruned = PruneGradually(0.9, settings, end=0.5, frequency=2)(model, task, run)
    assert num_zeros(pruned) == round(0.9 * size(model))
    assert run.rows()[-1]["best_epoch"] == 5 and run.rows()[-1]["epochs_saved"] == 1


def test_what_diverges_is_kept_with_clean_zeros(tmp_path):
    task = small_task()
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return task.loss(outputs, targets) * (float("nan") if len(calls) == 9 else 1)

    for number, step in enumerate((PruneGradually(0.5, SETTINGS, frequency=1), Retrain(SETTINGS))):
        calls.clear()
        sparse = PruneWeights(0.3)(mlp(), task, new_run_of_nothing())
        with pytest.raises(DivergedError) as caught:
            step(sparse, replace(task, loss=loss), new_run(tmp_path, n=number))
        assert all_zeros_are_plus_zero(caught.value.last_good)
        assert num_zeros(caught.value.last_good) >= num_zeros(sparse)


def test_the_whole_of_han_2015(tmp_path):
    chain = prune_and_retrain((0.5, 0.8), replace(SETTINGS, epochs=2))
    assert [step.name for step in chain.steps] == ["prune0", "retrain0", "prune1", "retrain1"]
    model, run = mlp(), new_run(tmp_path)
    pruned = chain(model, small_task(), run)
    assert num_zeros(pruned) == round(0.8 * size(model))
    assert [(row["stage"], row["epoch"]) for row in run.rows()] == [
        ("retrain0", 1), ("retrain0", 2), ("retrain1", 1), ("retrain1", 2)
    ]  # fmt: skip


def test_tied_weights_are_pruned_once_and_stay_tied(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 72, bias=False), nn.Linear(72, 72, bias=False), nn.Linear(72, 3))
    model[2].weight = model[1].weight
    pruned = PruneGradually(0.9, SETTINGS)(model, small_task(), new_run(tmp_path))
    assert pruned[1].weight is pruned[2].weight
    assert num_zeros(pruned) == round(0.9 * (72 * 72 + 72 * 3))


def test_a_weight_passing_through_zero_at_a_checkpoint_is_not_taken_for_pruned(tmp_path):
    """Whole numbers reach exactly 0: weights 3, 2, 1, 0, -1... under a gradient of 1 and lr 1."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((1, 2), 3.0))

        def forward(self, x):
            return self.weight.sum() * x.flatten(1)[:, :1] * 0 + self.weight.sum()

    task = replace(small_task(), loss=lambda outputs, targets: outputs.mean(), metric=lambda o, t: t.float())
    settings = TrainSettings(2, 1.0, 16, Sgd(momentum=0.0), schedule=constant, checkpoint_steps=1)
    step = Retrain(settings)
    wanted = step(Sum(), task, new_run(tmp_path)).weight
    assert wanted.tolist() == [[-3.0, -3.0]]
    run, update_, count = new_run(tmp_path, b=1), loop.update_, []

    def stop(*args):
        count.append(1)
        if len(count) == 4:  # after 3 updates the weights are 0
            raise KeyboardInterrupt
        return update_(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "update_", stop)
        step(Sum(), task, run)
    assert bits(run.load_checkpoint("retrain")[0]["weights:weight"]) == bits(torch.zeros(1, 2))
    assert torch.equal(step(Sum(), task, run).weight, wanted)


def test_share_of_zeros():
    assert zero_share({"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([-0.0, 1.0, 1.0, 1.0])}) == pytest.approx(1 / 3)
    assert zero_share({}) == 0.0


def test_a_ramp_that_leaves_no_time_to_repair_is_refused():
    for begin, end in ((0.0, 0.95), (0.5, 0.4), (-0.1, 0.5)):
        with pytest.raises(SettingError, match=r"must be 0 <= begin <= end <= 0.9 so that training can repair"):
            PruneGradually(0.9, SETTINGS, begin=begin, end=end)


def test_steps_are_values():
    step = PruneGradually(0.9, SETTINGS)
    assert copy.deepcopy(step) == step == PruneGradually(0.9, SETTINGS)
