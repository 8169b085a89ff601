import copy

import pytest
import torch
from tiny import conv_net, same_bits, seeded, state_of
from torch import nn

from prunelle.errors import ModelError, SettingError, ShapeError
from prunelle.graph.cuts import Attribute, Cut, Cuts, Replaced, replay_
from prunelle.models.resnet import resnet20
from prunelle.prune.repair import reconstruct, reestimate_batch_norm

pytestmark = pytest.mark.usefixtures("one_thread")


def batches(*shape: int, num: int = 4) -> list[torch.Tensor]:
    return list(torch.randn((num, *shape), generator=torch.Generator().manual_seed(3)))


def cut(model: nn.Module, cuts: Cuts) -> nn.Module:
    model = copy.deepcopy(model)
    replay_(model, cuts)
    return model


def error(model: nn.Module, dense: nn.Module, inputs: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model.eval()(inputs) - dense.eval()(inputs)).square().mean())


class Norms(nn.Module):
    """A convolution and its norm, and a layer behind both."""

    def __init__(self, *, bias: bool = False, groups: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 4, 3, bias=bias)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.act(self.norm(self.second(self.act(self.first(x))))).mean((2, 3)))


def norms(**settings) -> nn.Module:
    net = seeded(lambda: Norms(**settings)).double().eval()
    with torch.no_grad():
        net.first.bias.add_(0.5)
        net.norm.running_mean.add_(0.3)
        net.norm.running_var.mul_(0.2)
    return net


WITHOUT_LAST = Cuts(
    tensors=[
        Cut(tensor="first.weight", axis=0, kept=[0, 1, 2, 3, 4]),
        Cut(tensor="first.bias", axis=0, kept=[0, 1, 2, 3, 4]),
        Cut(tensor="second.weight", axis=1, kept=[0, 1, 2, 3, 4]),
    ],
    attributes=[
        Attribute(module="first", name="out_channels", value=5),
        Attribute(module="second", name="in_channels", value=5),
    ],
)
NARROWER = Cuts(
    tensors=[
        *(Cut(tensor=f"{name}", axis=0, kept=[0, 2, 3]) for name in ("second.weight", "second.bias")),
        *(
            Cut(tensor=f"norm.{name}", axis=0, kept=[0, 2, 3])
            for name in ("weight", "bias", "running_mean", "running_var")
        ),
        Cut(tensor="last.weight", axis=1, kept=[0, 2, 3]),
    ]
)


def test_norms_get_the_mean_of_the_batches_statistics():
    given = [torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [20.0]])]
    norm = nn.BatchNorm1d(1)
    found = reestimate_batch_norm(norm, given)
    # means 2 and 15, unbiased variances 2 and 50
    assert found.running_mean.tolist() == [8.5] and found.running_var.tolist() == [26.0]
    assert norm.running_mean.tolist() == [0.0] and norm.num_batches_tracked == 0


def test_every_norm_sees_what_the_one_before_gives_in_training():
    model, given = conv_net(), batches(5, 2, 6, 6)
    found = reestimate_batch_norm(model.eval(), given)
    plain = copy.deepcopy(model).train()
    means = []
    plain[7].p = 0.0
    plain[4].register_forward_pre_hook(lambda _, args: means.append(args[0].mean((0, 2, 3))))
    for batch in given:
        plain(batch)
    torch.testing.assert_close(found[4].running_mean, torch.stack(means).mean(0))


def test_all_but_the_statistics_stays():
    model = conv_net()
    model[4].eval()
    model[1].momentum = 0.3
    before = state_of(model)
    found = reestimate_batch_norm(model, batches(5, 2, 6, 6))
    assert same_bits(state_of(model), before)
    assert [m.training for m in found.modules()] == [m.training for m in model.modules()]
    assert found[1].momentum == 0.3
    changed = {name for name, tensor in state_of(found).items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{n}.{s}" for n in (1, 4) for s in ("running_mean", "running_var", "num_batches_tracked")}


def test_without_batch_norm_nothing_changes_and_no_batch_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.BatchNorm1d(2, track_running_stats=False))
    found = reestimate_batch_norm(model, batches(4, 2))
    assert found is not model and same_bits(state_of(found), state_of(model))
    with pytest.raises(SettingError, match="repair: 0 batches of examples were given, must be 1 or more"):
        reestimate_batch_norm(model, [])


def test_an_input_that_is_the_sum_of_two_others_is_replaced_by_hand():
    """y = [1 2 4] (a, b, a + b) = 5 a + 6 b."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)

        def forward(self, x):
            return self.second(self.first(x))

    dense = Sum()
    with torch.no_grad():
        dense.first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        dense.second.weight.copy_(torch.tensor([[1.0, 2.0, 4.0]]))
    cuts = Cuts(
        tensors=[
            Cut(tensor="first.weight", axis=0, kept=[0, 1]),
            Cut(tensor="second.weight", axis=1, kept=[0, 1]),
        ]
    )
    found = reconstruct(cut(dense, cuts), dense, cuts, batches(64, 2))
    torch.testing.assert_close(found.second.weight, torch.tensor([[5.0, 6.0]]), atol=1e-4, rtol=0)
    assert torch.equal(found.first.weight, torch.eye(2))


@pytest.mark.parametrize("bias", [False, True], ids=["norm takes the constant", "bias takes it"])
def test_channels_that_follow_from_others_leave_no_error(bias):
    dense = norms(bias=bias)
    with torch.no_grad():  # channel 5 is twice channel 1, and 0.25 where channel 0 is
        dense.first.weight[5] = 2 * dense.first.weight[1]
        dense.first.bias[5] = 2 * dense.first.bias[1]
        dense.first.weight[4] = 0
        dense.first.bias[4] = 0.25
    dropped = Cuts(
        tensors=[
            Cut(tensor="first.weight", axis=0, kept=[0, 1, 2, 3]),
            Cut(tensor="first.bias", axis=0, kept=[0, 1, 2, 3]),
            Cut(tensor="second.weight", axis=1, kept=[0, 1, 2, 3]),
        ]
    )
    given = [batch.double() for batch in batches(32, 2, 8, 8)]
    pruned = cut(dense, dropped)
    found = reconstruct(pruned, dense, dropped, given)
    assert error(pruned, dense, given[0]) > 1e-3
    assert error(found, dense, given[0]) < 1e-10
    assert bias or not torch.equal(found.norm.running_mean, dense.norm.running_mean)


def test_what_cannot_be_made_equal_comes_nearer_and_is_plain_least_squares(monkeypatch):
    monkeypatch.setattr("prunelle.prune.least_squares.RIDGES", (1e-9,))
    dense = norms(bias=True)
    given = [batch.double() for batch in batches(32, 2, 8, 8)]
    pruned = cut(dense, WITHOUT_LAST)
    before = state_of(pruned), state_of(dense)
    found = reconstruct(pruned, dense, WITHOUT_LAST, given, num_places=36)
    assert same_bits(state_of(pruned), before[0]) and same_bits(state_of(dense), before[1])
    assert error(found, dense, given[0]) < 0.5 * error(pruned, dense, given[0])
    with torch.no_grad():
        x = torch.cat([pruned.act(pruned.first(batch)) for batch in given[:-1]])
        y = torch.cat([dense.second(dense.act(dense.first(batch))) for batch in given[:-1]])
        rows = nn.functional.unfold(x, 3).permute(0, 2, 1).flatten(0, 1)
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        wanted = torch.linalg.lstsq(rows, y.flatten(2).permute(0, 2, 1).flatten(0, 1)).solution
    torch.testing.assert_close(found.second.weight.flatten(1), wanted[:-1].T, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.second.bias, wanted[-1], atol=1e-6, rtol=0)


def test_a_layer_that_lost_outputs_aims_at_those_it_kept():
    dense = norms(bias=True)
    given = [batch.double() for batch in batches(32, 2, 8, 8)]
    pruned = cut(dense, NARROWER)
    found = reconstruct(pruned, dense, NARROWER, given)
    assert torch.equal(found.second.weight, pruned.second.weight)
    assert torch.equal(found.norm.running_mean, pruned.norm.running_mean)
    assert error(found, dense, given[0]) < error(pruned, dense, given[0])
    both = WITHOUT_LAST.then(NARROWER)
    pruned = cut(dense, both)
    found = reconstruct(pruned, dense, both, given)
    assert found.second.weight.shape == (3, 5, 3, 3)
    assert error(found, dense, given[0]) < 0.5 * error(pruned, dense, given[0])


def test_norms_that_were_estimated_before_do_no_harm():
    dense = norms()
    given = [batch.double() for batch in batches(32, 2, 8, 8)]
    pruned = cut(dense, WITHOUT_LAST)
    found = reconstruct(pruned, dense, WITHOUT_LAST, given)
    again = reconstruct(reestimate_batch_norm(pruned, given), dense, WITHOUT_LAST, given)
    torch.testing.assert_close(again.norm.running_mean, found.norm.running_mean)
    torch.testing.assert_close(again.norm.running_var, found.norm.running_var)


def test_nothing_cut_changes_no_bit_and_flags_stay():
    dense = norms().train()
    dense.norm.eval()
    before = state_of(dense)
    pruned = copy.deepcopy(dense)
    found = reconstruct(pruned, dense, Cuts(), [batch.double() for batch in batches(8, 2, 8, 8)])
    assert found is not pruned and same_bits(state_of(found), before) and same_bits(state_of(dense), before)
    for model in (found, pruned, dense):
        assert [m.training for m in model.modules()] == [True] * 4 + [False] + [True]
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_block_that_went_is_mended_by_the_layers_after_it():
    dense = seeded(resnet20).eval()
    cuts = Cuts(replaced=[Replaced(module="layer2.1", by="identity")])
    given = batches(16, 3, 32, 32, num=3)
    pruned = cut(dense, cuts)
    found = reconstruct(pruned, dense, cuts, given, num_places=16)
    untouched = ("conv1.weight", "layer1.2.conv2.weight", "layer2.0.conv2.weight")
    assert all(torch.equal(state_of(found)[name], state_of(pruned)[name]) for name in untouched)
    assert not torch.equal(found.layer2[2].conv1.weight, pruned.layer2[2].conv1.weight)
    assert error(found, dense, given[0]) < 0.5 * error(pruned, dense, given[0])


class Several(nn.Module):
    """Layers that are called twice, share a weight or are parametrised."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.one, self.other = (nn.Linear(4, 4) for _ in range(4))
        self.other.weight = self.one.weight
        self.parametrised = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        x = self.twice(self.twice(self.first(x)).relu()).relu()
        return self.last(self.parametrised(self.other(self.one(x).relu()).relu()))


def test_layers_whose_weight_is_not_theirs_alone_are_left():
    dense = seeded(Several)
    pruned = copy.deepcopy(dense)
    with torch.no_grad():
        pruned.first.weight[0] = 0
        pruned.first.bias[0] = 0
    before = state_of(pruned)
    pruned.first.requires_grad_(False)
    cuts = Cuts()
    found = state_of(reconstruct(pruned, dense, cuts, batches(64, 4)))
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert {"first.weight", "first.bias"} <= changed <= {"first.weight", "first.bias", "last.weight", "last.bias"}


def test_one_seed_gives_one_network():
    dense = norms(bias=True)
    given = [batch.double() for batch in batches(16, 2, 8, 8)]
    pruned = cut(dense, WITHOUT_LAST)
    first, second, other = (
        state_of(reconstruct(pruned, dense, WITHOUT_LAST, given, num_places=4, seed=seed)) for seed in (0, 0, 1)
    )
    assert same_bits(first, second) and not same_bits(first, other)


def test_how_much_is_held_at_once_changes_nothing(monkeypatch):
    dense = norms(bias=True)
    given = [batch.double() for batch in batches(16, 2, 8, 8)]
    pruned = cut(dense, WITHOUT_LAST)
    found = state_of(reconstruct(pruned, dense, WITHOUT_LAST, given))
    monkeypatch.setattr("prunelle.prune.repair.HELD_BYTES", 1)
    assert same_bits(found, state_of(reconstruct(pruned, dense, WITHOUT_LAST, given)))


def test_depthwise_convolutions_mend_what_those_before_could_not():
    act, ends = nn.ReLU(), (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    dense = seeded(lambda: nn.Sequential(nn.Conv2d(2, 8, 3), act, nn.Conv2d(8, 6, 1), nn.Conv2d(6, 6, 3, groups=6)))
    dense = nn.Sequential(*dense, act, *ends).eval()
    cuts = Cuts(
        tensors=[
            *(Cut(tensor=name, axis=0, kept=[0, 1, 2]) for name in ("0.weight", "0.bias")),
            Cut(tensor="2.weight", axis=1, kept=[0, 1, 2]),
        ]
    )
    given = batches(64, 2, 8, 8)
    pruned = cut(dense, cuts)
    found = reconstruct(pruned, dense, cuts, given)
    assert found[3].weight.shape == (6, 1, 3, 3) and not torch.equal(found[3].weight, dense[3].weight)
    with torch.no_grad():
        left, right = (float((net[:4](given[0]) - dense[:4](given[0])).square().mean()) for net in (found, pruned))
    assert left < 0.8 * right and error(found, dense, given[0]) < error(pruned, dense, given[0])


def test_refusals():
    dense = norms(bias=True)
    given = [batch.double() for batch in batches(4, 2, 8, 8)]
    pruned = cut(dense, WITHOUT_LAST)
    with pytest.raises(SettingError, match="repair: 1 batches of examples were given, must be 2 or more"):
        reconstruct(pruned, dense, WITHOUT_LAST, given[:1])
    with pytest.raises(ShapeError, match="first has 5 outputs, the cuts keep 6; give the cuts that made this model"):
        reconstruct(pruned, dense, Cuts(), given)
    with pytest.raises(ModelError, match=r"the dense model runs no layer 'first' .*; give the model that was cut"):
        reconstruct(pruned, nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double(), WITHOUT_LAST, given)
    assert not any(m._forward_hooks or m._forward_pre_hooks for net in (pruned, dense) for m in net.modules())
