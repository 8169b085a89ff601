"""What each operator lets shrink, on modules of one idea each. `widths`: units of every set, as sorted numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunelle.errors import ModelError
from prunelle.graph.rules.table import RULES
from prunelle.graph.sets import Tied, analyse
from prunelle.graph.trace import trace
from prunelle.prune.channel_select import over_all_sets
from prunelle.prune.channels import plan_channels


class Between(nn.Module):
    """conv to 16 channels, `middle`, and whatever `head` makes of it."""

    def __init__(self, middle: Callable[[Tensor], Tensor], width: int = 16, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = middle if isinstance(middle, nn.Module) else Calls(middle)
        self.last = nn.Conv2d(width, 4, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def found(model: nn.Module, x: Tensor = IMAGE) -> Tied:
    return analyse(model.eval(), trace(model, x))


def widths(tied: Tied) -> list[int]:
    return sorted(len(one.units) for one in tied.sets)


def reasons(tied: Tied) -> str:
    return " | ".join(f"{one.what}: {one.why}" for one in tied.frozen)


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)


FREE: dict[str, tuple[nn.Module, list[int]]] = {
    "relu": (Between(torch.relu), [16]),
    "sigmoid, the constant goes to the bias": (Between(torch.sigmoid), [16]),
    "batch norm": (Between(nn.BatchNorm2d(16)), [16]),
    "batch norm without scale": (Between(nn.BatchNorm2d(16, affine=False)), [16]),
    "instance norm": (Between(nn.InstanceNorm2d(16, affine=True)), [16]),
    "group norm by groups": (Between(nn.GroupNorm(4, 16)), [4]),
    "a slope a channel": (Between(nn.PReLU(16)), [16]),
    "max pool": (Between(nn.MaxPool2d(2)), [16]),
    "shuffle by its columns": (Between(shuffle), [4]),
    "nn.ChannelShuffle": (Between(nn.ChannelShuffle(4)), [4]),
    "pixel shuffle by blocks": (Between(nn.PixelShuffle(2), 4), [4]),
    "pixel unshuffle": (Between(nn.PixelUnshuffle(2), 64), [16]),
    "twice beside itself": (Between(lambda x: torch.cat([x, x], 1), 32), [16]),
    "first half gates the second": (Between(lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1].tanh(), 8), [8]),
    "glu": (Between(nn.GLU(1), 8), [8]),
    "upsampled": (Between(nn.Upsample(scale_factor=2, mode="bilinear")), [16]),
    "squeezed over the image": (Between(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()), [16]),
    "flipped": (Between(lambda x: x.flip(1)), [16]),
    "doubled one by one": (Between(lambda x: x.repeat_interleave(2, 1), 32), [16]),
    "unfolded": (Between(lambda x: F.unfold(x, 2).unflatten(2, (7, 7)), 64), [16]),
    "depthwise": (Between(nn.Conv2d(16, 16, 3, padding=1, groups=16)), [16]),
    "depthwise times two": (Between(nn.Conv2d(16, 32, 3, padding=1, groups=16), 32), [16]),
    "grouped": (Between(nn.Conv2d(16, 8, 3, padding=1, groups=4), 8), [8, 16]),
    "transposed": (Between(nn.ConvTranspose2d(16, 8, 2, 2), 8), [8, 16]),
    "einsum": (Between(lambda x: torch.einsum("nchw,nchw->nchw", x, x)), [16]),
}

FROZEN: dict[str, tuple[nn.Module, str]] = {
    "mean over channels": (Between(lambda x: x - x.mean(1, keepdim=True)), "takes the mean over this axis"),
    "largest channel": (Between(lambda x: x.amax(1, keepdim=True), 1), "takes the amax over this axis"),
    "softmax over channels": (Between(lambda x: x.softmax(1)), "normalises over this axis"),
    "layer norm": (Between(lambda x: F.layer_norm(x, x.shape[1:])), "averages over this axis"),
    "group norm of one group": (Between(nn.GroupNorm(1, 16)), "averages over"),
    "rolled": (Between(lambda x: x.roll(1, 1)), "moves round by a number"),
    "every second": (Between(lambda x: x[:, ::2], 8), "takes every so many"),
    "permuted by numbers": (Between(lambda x: x[:, torch.arange(15, -1, -1)]), "picks by number"),
    "summed up along channels": (Between(lambda x: x.cumsum(1)), "depends on all of this axis"),
    "a fixed pattern": (Between(lambda x: x + torch.ones(1, 16, 1, 1)), "meets something that cannot shrink"),
    "sigmoid without a bias to take it": (Between(torch.sigmoid, bias=False), "something that is not 0"),
    "sorted": (Between(lambda x: x.sort(1)[0]), "there is no rule for aten.sort"),
}


@pytest.mark.parametrize("name", FREE)
def test_what_may_shrink_does_and_the_cut_is_right(name: str) -> None:
    model, expected = FREE[name]
    assert widths(found(model)) == expected
    plan = plan_channels(model, IMAGE, 0.5)
    assert plan.proof.error < 1e-12
    assert plan.apply(model)(IMAGE).shape == model(IMAGE).shape


@pytest.mark.parametrize("name", FROZEN)
def test_what_may_not_shrink_is_frozen_by_name(name: str) -> None:
    model, why = FROZEN[name]
    tied = found(model)
    assert "first" not in [one.name for one in tied.sets]
    assert why in reasons(tied)


def test_the_output_is_frozen() -> None:
    tied = found(nn.Sequential(nn.Conv2d(3, 8, 1)))
    assert not tied.sets
    assert "what the model gives back keeps its size" in reasons(tied)


class Attention(nn.Module):
    def __init__(self, scale: str) -> None:
        super().__init__()
        self.heads, self.how = 4, scale
        self.qkv, self.out = nn.Linear(12, 96), nn.Linear(32, 12)
        self.fixed = 8**-0.5

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if self.how == "operator":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.how == "attribute":
            y = (q @ k.mT * self.fixed).softmax(-1) @ v
        else:
            y = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, t, -1))


@pytest.mark.parametrize("scale", ["operator", "attribute", "size"])
def test_attention_keeps_its_scale_when_heads_get_smaller(scale: str) -> None:
    model, x = Attention(scale).eval(), torch.randn(2, 5, 12)
    plan = plan_channels(model, x, 0.5)
    assert [len(one.units) for one in plan.tied.sets] == [8]
    assert plan.proof.error < 1e-12
    small = plan.apply(model)
    assert small.qkv.out_features == 48
    assert small.out.in_features == 16


class Pads(nn.Module):
    """Option A's shortcut; `told`: the widths stand in an attribute."""

    def __init__(self, told: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 1)
        self.head = nn.Conv2d(16, 2, 1)
        self.told = told
        if told:
            self.widths = (4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        widths = self.widths if self.told else (4, 4)
        return self.head(self.b(x) + F.pad(x, (0, 0, 0, 0, *widths)))


def test_padded_channels_go_where_an_attribute_tells_how_many_they_are() -> None:
    free, hard = found(Pads(True)), found(Pads(False))
    assert widths(free) == [16]
    assert widths(hard) == [8]
    plan = plan_channels(Pads(True), IMAGE, 0.5)
    assert plan.proof.error < 1e-12
    assert sum(plan.apply(Pads(True)).widths) < 8


def test_every_operator_met_in_timm_has_a_rule() -> None:
    names = (Path(__file__).parent / "operators.txt").read_text().split()
    unknown = []
    for name in names:
        if not name.startswith("aten."):
            continue
        short = name.removeprefix("aten.")
        packet, _, overload = short.partition(".")
        operator = getattr(getattr(torch.ops.aten, packet), overload)
        if short not in RULES and packet not in RULES and torch.Tag.pointwise not in operator.tags:
            unknown.append(name)
    assert unknown == []


class TwoParameters(nn.Module):
    """Two weights of one module, neither in a layer of its own: their sets have one name."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(12, 16)), nn.Parameter(torch.randn(16, 20))
        self.head = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x @ self.w1).relu() @ self.w2)


def test_two_sets_of_one_name_each_get_their_own_share() -> None:
    model, x = TwoParameters().eval(), torch.randn(4, 12)
    with torch.no_grad():
        model.w1[:, :4] *= 1e-3
    plan = plan_channels(model, x, 0.25, scope=over_all_sets)
    assert sum(int(plan.removed[one.units].sum()) for one in plan.tied.sets) == 9
    assert plan.apply(model).w1.shape[1] <= 12


class Twice(nn.Module):
    """The same layer on two inputs."""

    def __init__(self, layer: nn.Module, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.layer, self.act = nn.Conv2d(3, 16, 1), layer, act
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        return self.head(self.layer(x) + self.layer(x.flip(2)))


@pytest.mark.parametrize("act", [torch.relu, torch.sigmoid])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_layer_that_is_called_twice_is_cut_once(groups: int, act: Callable[[Tensor], Tensor]) -> None:
    plan = plan_channels(Twice(nn.Conv2d(16, 8, 1, groups=groups), act), IMAGE, 0.5)
    assert plan.proof.error < 1e-12


class Sequences(nn.Module):
    """From 12 channels to 16, `middle`, and out."""

    def __init__(self, middle: Callable[[Tensor], Tensor], width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.middle = middle if isinstance(middle, nn.Module) else Calls(middle)
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


@pytest.mark.parametrize(
    "middle",
    [
        lambda h: F.scaled_dot_product_attention(h, h, h),
        lambda h: h + F.scaled_dot_product_attention(h, h, h),
        lambda h: F.gelu(torch.addmm(torch.zeros(16), h.flatten(0, 1), torch.eye(16))).view(h.shape),
        lambda h: F.adaptive_max_pool1d(h.mT, 5).mT,
        lambda h: torch.logsumexp(h.unsqueeze(1).expand(-1, 3, -1, -1), 1),
        lambda h: h @ (h.mT @ h).tril(),
        lambda h: torch.cat(torch.tensor_split(h, 3, -1)[::-1], -1),
    ],
)
def test_odd_operators_are_cut_right_or_left_whole(middle: Callable[[Tensor], Tensor]) -> None:
    model, x = Sequences(middle).eval(), torch.randn(2, 5, 12)
    tied = found(model, x)
    if tied.sets:
        assert plan_channels(model, x, 0.5).proof.error < 1e-12
    else:
        assert tied.frozen


def test_a_norm_over_the_root_of_squares_freezes_only_its_axis() -> None:
    tied = found(Sequences(nn.RMSNorm(16, eps=1e-6)), torch.randn(2, 5, 12))
    assert not tied.sets
    assert "averages over this axis" in reasons(tied)


def test_a_number_in_a_forward_is_the_reason_that_is_given() -> None:
    model = Sequences(lambda h: h.narrow(-1, 0, 8).repeat(1, 1, 2)).eval()
    with pytest.raises(ModelError, match="Calls's forward holds sizes that no attribute reaches"):
        plan_channels(model, torch.randn(2, 5, 12), 0.5)
