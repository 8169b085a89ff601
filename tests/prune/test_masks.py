import pytest
import torch
from tiny import bits, conv_net, mlp
from torch import nn

from prunelle.measure.params import prunable
from prunelle.prune.masks import HeldZeros, masks_of, zero_

pytestmark = pytest.mark.usefixtures("one_thread")


class Many(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.position = nn.Parameter(torch.zeros(1, 3, 4))
        self.attention = nn.MultiheadAttention(4, 2)
        self.recurrent = nn.LSTM(4, 3)
        self.norm = nn.LayerNorm((3, 4))
        self.convolution = nn.Conv2d(1, 2, 3)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight


def test_which_weights_are_prunable():
    assert list(prunable(Many())) == [
        "attention.in_proj_weight", "attention.out_proj.weight", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0",
        "convolution.weight", "first.weight",
    ]  # fmt: skip
    assert list(prunable(conv_net())) == ["0.weight", "3.weight", "8.weight"]
    assert prunable(nn.ReLU()) == {}


def test_masks_are_where_weights_are_not_zero():
    found = masks_of({"a": torch.tensor([0.0, -0.0, 1.0, float("nan")])})
    assert found["a"].tolist() == [False, False, True, True]


def test_zero_leaves_plus_zero_and_no_nan():
    weights = {"a": torch.tensor([-1.0, float("nan"), float("inf"), 2.0])}
    zero_(weights, {"a": torch.tensor([False, False, False, True])})
    assert bits(weights["a"]) == bits(torch.tensor([0.0, 0.0, 0.0, 2.0]))


def test_keeping_all_changes_no_bit():
    weights = {"a": torch.tensor([-0.0, float("nan"), 1.0])}
    before = bits(weights["a"])
    zero_(weights, {"a": torch.ones(3, dtype=torch.bool)})
    assert bits(weights["a"]) == before


@pytest.mark.parametrize("net", [mlp, lambda: conv_net().to(memory_format=torch.channels_last)])
def test_zeros_are_held_and_the_others_are_not_touched(net):
    model = net()
    weights = prunable(model)
    kept = {name: torch.rand_like(w) > 0.5 for name, w in weights.items()}
    held = HeldZeros(weights)
    held.hold_(kept)
    assert all(torch.equal(w != 0, kept[name]) for name, w in weights.items())
    for step in range(3):
        with torch.no_grad():
            for w in weights.values():
                w.add_(torch.randn_like(w))
        wanted = {name: torch.where(kept[name], w, 0.0) for name, w in weights.items()}
        held.after_update_(step)
        assert all(torch.equal(w, wanted[name]) for name, w in weights.items())


def test_what_is_zero_at_the_start_is_held():
    model = mlp()
    with torch.no_grad():
        model[1].weight[0].zero_()
    held = HeldZeros(prunable(model))
    held.start_(0, {})
    with torch.no_grad():
        model[1].weight.fill_(1.0)
    held.after_update_(1)
    assert not model[1].weight[0].any() and (model[1].weight[1:] == 1).all()
    assert held.settled(0)


def test_the_state_tells_masks_that_weights_do_not():
    model = mlp()
    held = HeldZeros(prunable(model))
    held.start_(0, {})
    with torch.no_grad():
        model[1].weight[0, 0] = 0.0  # a kept weight on its way through 0
    state = held.state()
    assert state["1.weight"].all() and state["1.weight"].dtype == torch.bool
    again = HeldZeros(prunable(model))
    again.start_(5, state)
    with torch.no_grad():
        model[1].weight[0, 0] = 3.0
    again.after_update_(6)
    assert model[1].weight[0, 0] == 3.0


def test_taking_a_state_over_changes_no_bit():
    model = mlp()
    with torch.no_grad():
        model[1].weight[0] = -0.0
    before = bits(model[1].weight)
    masks = masks_of(prunable(model))
    HeldZeros(prunable(model)).start_(3, masks)
    assert bits(model[1].weight) == before
