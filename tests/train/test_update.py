"""train/step.py: one update."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import CLASSES, SHAPE, conv_net, mlp, same_bits, state_of
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import BF16
from prunelle.train.step import Update, all_finite, finite, init_state, restore_, snapshot, update, update_, zero_share

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIMIZERS = {
    "sgd": Sgd(),
    "plain sgd": Sgd(momentum=0.0),
    "nesterov": Sgd(momentum=0.8, weight_decay=1e-3, nesterov=True),
    "adam": Adam(weight_decay=1e-3),
    "adamw": Adam(weight_decay=1e-2, decoupled=True),
}
RULE = Update(Plain(cross_entropy), Sgd())


def batch(number: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(size, *SHAPE, generator=generator), torch.randint(0, CLASSES, (size,), generator=generator)


@pytest.mark.parametrize("precision", [RULE.precision, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("net", [mlp, conv_net])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_in_place_equals_the_pure_function_bit_for_bit(name, net, precision):
    rule = replace(RULE, optimizer=OPTIMIZERS[name], precision=precision)
    model, pure_model = net(), net()
    state, pure = init_state(model, rule.optimizer), init_state(pure_model, rule.optimizer)
    untouched = state_of(pure_model)
    for step in range(6):
        loss, applied = update_(model, state, batch(step), rule, 0.05, seed=step)
        pure, pure_loss = update(pure_model, pure, batch(step), rule, 0.05, seed=step)
        assert applied and torch.equal(loss, pure_loss)
        assert same_bits(state.weights, pure.weights) and same_bits(state.buffers, pure.buffers)
        for quantity, tensors in state.optimizer.items():
            assert all(map(torch.equal, tensors, pure.optimizer[quantity]))
    assert same_bits(state_of(pure_model), untouched)
    assert not same_bits(state_of(model), untouched)


def test_an_update_by_hand():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    squared = Update(Plain(lambda outputs, targets: ((outputs - targets) ** 2).mean()), Sgd(momentum=0.5))
    state = init_state(model, squared.optimizer)
    one = (torch.tensor([[3.0]]), torch.tensor([[5.0]]))
    loss, _ = update_(model, state, one, squared, lr=0.1, seed=0)
    # (3 * 2 - 5)^2 = 1; gradient 2 * 1 * 3 = 6; 2 - 0.1 * 6 = 1.4
    assert loss.item() == 1.0 and model.weight.item() == pytest.approx(1.4)
    update_(model, state, one, squared, lr=0.1, seed=0)
    # (4.2 - 5) * 2 * 3 = -4.8; momentum 0.5 * 6 - 4.8 = -1.8; 1.4 + 0.18 = 1.58
    assert model.weight.item() == pytest.approx(1.58, abs=1e-6)


def test_a_learning_rate_of_0_changes_no_weight():
    model = mlp()
    before = state_of(model)
    update_(model, init_state(model, Sgd()), batch(0), RULE, lr=0.0, seed=0)
    assert same_bits(state_of(model), before)


def test_the_seed_decides_dropout():
    losses = [
        update(model := conv_net(), init_state(model, Sgd()), batch(0), RULE, 0.1, seed)[1].item() for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_frozen_weights_stay_and_are_no_part_of_the_state():
    model = mlp()
    model[1].weight.requires_grad_(False)
    before = model[1].weight.clone()
    state = init_state(model, Sgd())
    assert "1.weight" not in state.weights
    update_(model, state, batch(0), RULE, 0.1, 0)
    assert torch.equal(model[1].weight, before)


def test_a_weight_that_is_not_used_gets_a_gradient_of_0():
    model = mlp()
    model.extra = nn.Parameter(torch.ones(2))
    before = state_of(model)
    model.forward = lambda x: nn.Sequential(*list(model.children())[:4])(x)
    update_(model, init_state(model, Sgd()), batch(0), RULE, 0.1, 0)
    assert torch.equal(model.extra, before["extra"])


def blown(outputs, targets):
    return cross_entropy(outputs, targets) * float("nan")


class InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, grad):
        return torch.full((8, CLASSES), float("inf"))


@pytest.mark.parametrize("loss", [blown, lambda outputs, targets: InfiniteGradient.apply(outputs)])
def test_nothing_is_applied_where_loss_or_gradient_is_not_finite(loss):
    model, rule = mlp(), replace(RULE, objective=Plain(loss), optimizer=Adam())
    before = state_of(model)
    state = init_state(model, rule.optimizer)
    _, applied = update_(model, state, batch(0), rule, 0.1, 0)
    assert not applied and same_bits(state_of(model), before)
    assert all(not t.any() for tensors in state.optimizer.values() for t in tensors)
    pure, _ = update(model, state, batch(0), rule, 0.1, 0)
    assert same_bits(pure.weights, state.weights)


def test_the_loss_scale_is_divided_out_again():
    plain, scaled = mlp(), mlp()
    for model, scale in ((plain, 1.0), (scaled, 1024.0)):
        update_(model, init_state(model, Sgd()), batch(0), RULE, 0.1, 0, scale)
    assert same_bits(state_of(plain), state_of(scaled))  # a power of two loses no bit


def test_all_finite_sees_one_bad_number_anywhere():
    good = [torch.zeros(3), torch.full((2, 2), 1e18)]
    assert all_finite(torch.tensor(1.0), good)
    assert not all_finite(torch.tensor(float("nan")), good)
    for bad in (float("nan"), float("inf"), float("-inf")):
        spoiled = copy.deepcopy(good)
        spoiled[1][1, 0] = bad
        assert not all_finite(torch.tensor(1.0), spoiled)


def test_snapshot_and_restore_and_what_is_finite():
    model = conv_net()
    state = init_state(model, Sgd())
    kept = snapshot(state)
    before = state_of(model)
    for step in range(3):
        update_(model, state, batch(step), RULE, 0.1, step)
    assert not same_bits(state_of(model), before) and finite(state)
    model[1].running_var[0] = float("nan")
    assert not finite(state)
    restore_(state, kept)
    assert same_bits(state_of(model), before) and finite(state)


def test_share_of_zeros_by_hand():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 1, 2], [-0.0, 3, 4]]))
        model.bias.fill_(1.0)
    assert zero_share(init_state(model, Sgd())) == pytest.approx(2 / 8)
