import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import ModelError, SettingError
from prunelle.graph.costs import macs, params
from prunelle.graph.cuts import replay_
from prunelle.measure.macs import count_macs
from prunelle.models.load import build
from prunelle.prune.channel_scores import l1_norm
from prunelle.prune.channel_select import over_all_sets, per_layer, per_set
from prunelle.prune.channels import plan_channels, prune_channels

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two convolutions in a row, one beside a residual link, a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.inner, self.outer = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 32, 3, padding=1, groups=4)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.stem(x)).relu()
        x = x + self.outer(self.inner(x).relu())
        return self.head(self.grouped(x).relu().mean((2, 3)))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net()


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


def test_nothing_goes_at_amount_0(net: nn.Module) -> None:
    small = prune_channels(net, IMAGE, 0.0)
    assert same(state(net), state(small))


def test_half_of_every_set_goes(net: nn.Module) -> None:
    small = prune_channels(net, IMAGE, 0.5)
    assert (small.stem.out_channels, small.inner.out_channels, small.grouped.out_channels) == (8, 12, 16)
    assert (small.grouped.groups, small.grouped.in_channels, small.head.in_features) == (4, 8, 16)
    assert small.grouped.weight.shape == (16, 2, 3, 3)


def test_those_with_the_smallest_rows_go(net: nn.Module) -> None:
    with torch.no_grad():
        net.inner.weight[::2] *= 0.01
    plan = plan_channels(net, IMAGE, 0.5)
    kept = next(cut.kept for cut in plan.cuts.tensors if cut.tensor == "inner.weight" and cut.axis == 0)
    assert kept == list(range(1, 24, 2))


def test_the_model_given_stays_as_it_was(net: nn.Module) -> None:
    net.train()
    before, flags = state(net), [m.training for m in net.modules()]
    grads = [p.requires_grad for p in net.parameters()]
    small = prune_channels(net, IMAGE, 0.5)
    assert same(before, state(net))
    assert flags == [m.training for m in net.modules()]
    assert grads == [p.requires_grad for p in small.parameters()]
    theirs = {p.data_ptr() for p in net.parameters()}
    assert not theirs & {p.data_ptr() for p in small.parameters()}


def test_the_result_trains_and_takes_any_batch(net: nn.Module) -> None:
    small = prune_channels(net, IMAGE, 0.5).train()
    small(torch.randn(7, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters())


def test_it_equals_the_masked_model_on_its_own_weights(net: nn.Module) -> None:
    net.eval()
    plan = plan_channels(net, IMAGE, 0.5)
    assert plan.proof.error < 1e-12
    assert plan.prove(net, IMAGE).error < 1e-12


def test_a_wrong_cut_does_not_pass_the_proof(net: nn.Module) -> None:
    """The proof must be able to fail: one kept index too far to the right."""
    from prunelle.graph.copies import as_type, randomised
    from prunelle.graph.cuts import Cut, Cuts
    from prunelle.graph.prove import prove

    plan = plan_channels(net, IMAGE, 0.5)
    cuts = [
        cut if (cut.tensor, cut.axis) != ("outer.weight", 1) else Cut(tensor=cut.tensor, axis=1, kept=list(range(12)))
        for cut in plan.cuts.tensors
    ]
    wrong = Cuts(tensors=cuts, attributes=plan.cuts.attributes)
    proof = prove(randomised(net, 0), as_type((IMAGE,)), plan.tied, plan.removed, wrong)
    assert proof.error > 1e-3


@pytest.mark.parametrize("scope", [per_set, per_layer, over_all_sets])
@pytest.mark.parametrize("amount", [0.2, 0.5, 0.8])
def test_what_the_graph_counts_is_what_the_cut_model_has(net: nn.Module, scope: object, amount: float) -> None:
    plan = plan_channels(net, IMAGE, amount, scope=scope)  # type: ignore[arg-type]
    small = plan.apply(net)
    assert macs(plan.tied, plan.removed) == count_macs(small, IMAGE).total
    assert params(plan.tied, plan.removed) == sum(p.numel() for p in small.parameters())


@pytest.mark.parametrize("of", ["macs", "params"])
@pytest.mark.parametrize("amount", [0.25, 0.5, 0.75])
def test_a_share_of_macs_or_params_is_reached_and_not_by_far(of: str, amount: float) -> None:
    model = build("resnet20")
    x = torch.randn(1, 3, 32, 32)
    small = prune_channels(model, x, amount, of=of, scope=over_all_sets)
    count = {"macs": lambda m: count_macs(m, x).total, "params": lambda m: sum(p.numel() for p in m.parameters())}[of]
    left = count(small) / count(model)
    assert 1 - amount - 0.03 < left <= 1 - amount + 0.003


def test_widths_are_rounded_up_to_a_multiple(net: nn.Module) -> None:
    small = prune_channels(net, IMAGE, 0.45, multiple=8)
    assert (small.stem.out_channels, small.inner.out_channels, small.grouped.out_channels) == (16, 16, 24)


def test_the_floor_holds(net: nn.Module) -> None:
    small = prune_channels(net, IMAGE, 0.99, floor=8)
    assert min(small.stem.out_channels, small.inner.out_channels, small.grouped.out_channels) >= 8


def test_what_is_named_is_left_alone(net: nn.Module) -> None:
    plan = plan_channels(net, IMAGE, 0.5, skip=("inner",))
    assert plan.apply(net).inner.out_channels == 24
    assert any(one.what == "inner" and "left alone" in one.why for one in plan.frozen)


def test_a_layer_that_another_module_reads_can_be_named_too() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(nn.functional.linear(x, self.a.weight, self.a.bias).relu())

    with pytest.raises(ModelError, match="left alone"):
        plan_channels(Reads(), torch.randn(3, 4), 0.5, skip=("a",))


def test_a_constant_output_proves_nothing() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) * 0.0

    with pytest.raises(ModelError, match="proves nothing"):
        plan_channels(Silent(), torch.randn(3, 4), 0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"amount": 1.0}, "amount is 1.0, must lie in"),
        ({"amount": -0.1}, "amount is -0.1, must lie in"),
        ({"of": "bytes"}, "must be one of channels, macs, params"),
        ({"skip": ("nowhere",)}, "no module of this path"),
        ({"floor": 0}, "floor is 0"),
        ({"multiple": 0}, "multiple 0"),
    ],
)
def test_impossible_settings_are_refused(net: nn.Module, settings: dict, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        plan_channels(net, IMAGE, **settings)


def test_more_than_can_go_is_refused_with_what_can(net: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"at most \d+\.\d% of the macs can go"):
        plan_channels(net, IMAGE, 0.999, of="macs")


def test_a_branch_on_a_value_is_refused_in_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return self.b(x) if float(x.mean()) > 9 else self.b(x + 1)

    with pytest.raises(ModelError, match="cannot trace its forward"):
        plan_channels(Branch(), IMAGE)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_which_nothing_can_go_is_refused_with_the_reason() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    with pytest.raises(ModelError, match=r"no channel can go.*averages over this axis"):
        plan_channels(model, torch.randn(3, 4))


def test_cuts_replay_on_a_fresh_model_of_the_same_shapes(net: nn.Module) -> None:
    plan = plan_channels(net, IMAGE, 0.5)
    small, again = plan.apply(net), Net()
    replay_(again, plan.cuts)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again.eval()(IMAGE), small.eval()(IMAGE))


def test_two_cuts_in_a_row_compose(net: nn.Module) -> None:
    first = plan_channels(net, IMAGE, 0.25)
    middle = first.apply(net)
    second = plan_channels(middle, IMAGE, 0.25)
    small, again = second.apply(middle), copy.deepcopy(net)
    replay_(again, first.cuts.then(second.cuts))
    assert same(state(small), state(again))


def test_other_scores_choose_other_channels(net: nn.Module) -> None:
    with torch.no_grad():
        net.inner.weight.zero_()
        net.inner.weight[:12, 0, 0, 0] = 3.0
        net.inner.weight[12:, :, 0, 0] = 0.5
    by_l2 = plan_channels(net, IMAGE, 0.5)
    by_l1 = plan_channels(net, IMAGE, 0.5, score=l1_norm)
    kept = [
        next(cut.kept for cut in plan.cuts.tensors if (cut.tensor, cut.axis) == ("inner.weight", 0))
        for plan in (by_l2, by_l1)
    ]
    assert kept == [list(range(12)), list(range(12, 24))]


def test_parts_that_must_stay_equal_do_at_any_amount() -> None:
    class Chunks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 24, 1), nn.Conv2d(12, 6, 1), nn.Conv2d(18, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            left, right = self.a(x).chunk(2, 1)
            return self.c(torch.cat([self.b(left), right], 1))

    for amount in np.linspace(0.05, 0.95, 10):
        plan = plan_channels(Chunks(), IMAGE, float(amount), scope=over_all_sets)
        assert plan.proof.error < 1e-12
