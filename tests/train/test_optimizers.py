import pytest
import torch
from tiny import bits

from prunelle.train.optimizers import Adam, Sgd

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = {
    "sgd": (Sgd(momentum=0.0), lambda w: torch.optim.SGD(w, lr=0.1, fused=True)),
    "momentum": (
        Sgd(momentum=0.9, weight_decay=1e-2),
        lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, weight_decay=1e-2, fused=True),
    ),
    "nesterov": (
        Sgd(momentum=0.9, nesterov=True),
        lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    ),
    "adam": (
        Adam(betas=(0.8, 0.99), eps=1e-6, weight_decay=1e-2),
        lambda w: torch.optim.Adam(w, lr=0.1, betas=(0.8, 0.99), eps=1e-6, weight_decay=1e-2, fused=True),
    ),
    "adamw": (
        Adam(weight_decay=0.1, decoupled=True),
        lambda w: torch.optim.AdamW(w, lr=0.1, weight_decay=0.1, fused=True),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_equal_torch_optim_bit_for_bit(name):
    ours, make = PAIRS[name]
    torch.manual_seed(0)
    start = [torch.randn(5, 3), torch.randn(7), torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)]
    mine = [w.clone() for w in start]
    theirs = [torch.nn.Parameter(w.clone()) for w in start]
    state, optimizer = ours.init(mine), make(theirs)
    for step in range(20):
        gradients = [torch.randn_like(w) for w in start]
        lr = 0.1 / (step + 1)
        ours.update_(mine, gradients, state, lr)
        optimizer.param_groups[0]["lr"] = lr
        for w, g in zip(theirs, gradients, strict=True):
            w.grad = g
        optimizer.step()
    assert all(bits(a) == bits(b) for a, b in zip(mine, theirs, strict=True))


def test_adam_by_hand():
    weight, state = [torch.tensor([1.0], dtype=torch.float64)], None
    adam = Adam(betas=(0.5, 0.5), eps=0.0)
    state = adam.init(weight)
    adam.update_(weight, [torch.tensor([4.0], dtype=torch.float64)], state, lr=0.25)
    # m = 2, v = 8, corrected 4 and 16: a first step of size lr whatever the gradient
    assert weight[0].item() == pytest.approx(0.75, abs=1e-12)
    assert state["exp_avg"][0].item() == 2 and state["exp_avg_sq"][0].item() == 8 and state["count"][0].item() == 1


def test_state_is_beside_the_weights():
    weights = [torch.zeros(2, 3), torch.zeros(4)]
    assert Sgd(momentum=0.0).init(weights) == {}
    assert [t.shape for t in Sgd().init(weights)["momentum"]] == [(2, 3), (4,)]
    assert set(Adam().init(weights)) == {"exp_avg", "exp_avg_sq", "count"}
