"""The reference itself: cuts made by hand that are right agree with it, and cuts that are wrong do not."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from randomised import randomise_
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from zeroed import NoReference, relative_error, zeroed

from prunelle.graph.cuts import Attribute, Cut, Cuts, Replaced, replay_

RIGHT, WRONG = 1e-12, 1e-4
HALF, OTHER = [0, 3, 4, 6], [1, 3, 4, 6]


class Attention(nn.Module):
    """Two heads of 4; their number is written into the forward, their size is not."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 24), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, 2, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, -1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


class OwnMatrix(nn.Module):
    consumes: ClassVar = {"mix": (0,)}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = nn.Linear(6, 8), nn.Parameter(torch.zeros(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) @ self.mix


def net(*between: nn.Module, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    last = nn.Conv2d(8, 6, kernel, padding=kernel // 2, groups=groups)
    return nn.Sequential(nn.Conv2d(3, 8, 3), *between, last)


def perceptron(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), *between, nn.Linear(8, 3))


def cut(rows: str, columns: str = "", kept: list[int] = HALF, read: list[int] | None = None, **sizes: int) -> Cuts:
    """rows, columns: names of tensors cut along axis 0 and 1. read: what the columns keep, if not the same."""
    tensors = [Cut(tensor=name, axis=0, kept=kept) for name in rows.split()]
    tensors += [Cut(tensor=name, axis=1, kept=read or kept) for name in columns.split()]
    return Cuts(tensors=tensors, attributes=[attribute(place, size) for place, size in sizes.items()])


def attribute(place: str, size: int) -> Attribute:
    module, _, name = place.lstrip("_").partition("__")
    return Attribute(module=module, name=name, value=size)


def found(model: nn.Module, cuts: Cuts, size: tuple[int, ...], repair=lambda small: None) -> float:
    """The difference between the network cut by `cuts` alone, then repaired, and the reference."""
    randomise_(model, torch.Generator().manual_seed(1)).double()
    before = copy.deepcopy(model.state_dict())
    reference = zeroed(model, cuts)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    small = copy.deepcopy(model)
    replay_(small, cuts)
    repair(small)
    return relative_error(small, reference, (torch.randn(size, generator=torch.Generator().manual_seed(2)).double(),))


IMAGES, TOKENS = (2, 3, 8, 8), (2, 7, 6)
FIRST = "0.weight 0.bias"
NORMED = f"{FIRST} 1.weight 1.bias 1.running_mean 1.running_var"
HEADS = [8 * part + 4 * head + i for part in range(3) for head in range(2) for i in (0, 3)]
HEADED = cut("qkv.weight qkv.bias", kept=HEADS).then(cut("", "out.weight", [0, 3, 4, 7]))
GATES = [6 * gate + i for gate in range(3) for i in (0, 2, 3)]
RNN = "layer.weight_ih_l0 layer.weight_hh_l0 layer.bias_ih_l0 layer.bias_hh_l0"
BLOCKS = Cuts(
    tensors=[*cut(FIRST, kept=[0, 3, 5, 6]).tensors, Cut(tensor="1.weight", axis=1, kept=[0, 3, 1, 2], groups=2)],
    attributes=[attribute("1__in_channels", 4)],
)


def scaled(small: nn.Module) -> None:
    """Half the size of a head, the old scale."""
    small.qkv.weight.data[:4] *= 2**-0.5
    small.qkv.bias.data[:4] *= 2**-0.5


def folded(model: nn.Module) -> object:
    """sigmoid(0) of the channels that went, into the bias of what read them."""
    gone = [index for index in range(8) if index not in HALF]
    more = 0.5 * model[2].weight.detach().double()[:, gone].sum((1, 2, 3))

    def repair(small: nn.Module) -> None:
        small[2].bias.data += more

    return repair


AGREE = {
    "batch norm": (net(nn.BatchNorm2d(8), nn.ReLU()), cut(NORMED, "3.weight"), IMAGES),
    "batch norm without affine": (
        net(nn.BatchNorm2d(8, affine=False)),
        cut(f"{FIRST} 1.running_mean 1.running_var", "2.weight"),
        IMAGES,
    ),
    "other channels of each group": (net(groups=2), BLOCKS, IMAGES),
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(3, 8, 2), nn.Conv2d(8, 2, 1)),
        cut("0.bias", "0.weight 1.weight"),
        IMAGES,
    ),
    "a whole group": (
        net(nn.GroupNorm(2, 8)),
        cut(f"{FIRST} 1.weight 1.bias", "2.weight", [4, 5, 6, 7], _1__num_groups=1, _1__num_channels=4),
        IMAGES,
    ),
    "depthwise": (
        net(nn.Conv2d(8, 8, 3, groups=8), nn.PReLU(8)),
        cut(f"{FIRST} 1.weight 1.bias 2.weight", "3.weight", _1__groups=4),
        IMAGES,
    ),
    "recurrent": (
        Recurrent(),
        Cuts(
            tensors=[
                *cut(RNN, kept=GATES).tensors,
                *cut("", "layer.weight_hh_l0 out.weight", [0, 2, 3]).tensors,
            ],
            attributes=[attribute("layer__hidden_size", 3)],
        ),
        TOKENS,
    ),
    "a matrix of its own": (OwnMatrix(), cut("first.weight first.bias mix"), TOKENS),
    "weight norm": (
        nn.Sequential(weight_norm(nn.Linear(6, 8)), nn.Linear(8, 3)),
        cut("0.parametrizations.weight.original0 0.parametrizations.weight.original1 0.bias", "1.weight"),
        TOKENS,
    ),
    "a replaced module": (net(nn.BatchNorm2d(8)), Cuts(replaced=[Replaced(module="1", by="identity")]), IMAGES),
    "cut in two steps": (
        perceptron(),
        cut(FIRST, "1.weight", [0, 3, 4, 6, 7]).then(cut(FIRST, "1.weight", [1, 3])),
        TOKENS,
    ),
}
DIFFER = {
    "other channels are read": (net(nn.BatchNorm2d(8), nn.ReLU()), cut(NORMED, "3.weight", read=OTHER), IMAGES),
    "other means": (
        net(nn.BatchNorm2d(8), nn.ReLU()),
        Cuts(
            tensors=[
                *cut(NORMED.replace("1.running_mean", ""), "3.weight").tensors,
                *cut("1.running_mean", kept=OTHER).tensors,
            ]
        ),
        IMAGES,
    ),
    "blocks swapped": (
        net(groups=2),
        BLOCKS.model_copy(
            update={"tensors": [*BLOCKS.tensors[:2], Cut(tensor="1.weight", axis=1, kept=[1, 2, 0, 3], groups=2)]}
        ),
        IMAGES,
    ),
    "half of each group": (
        net(nn.GroupNorm(2, 8)),
        cut(f"{FIRST} 1.weight 1.bias", "2.weight", [0, 1, 4, 5], _1__num_channels=4),
        IMAGES,
    ),
    "some of a layer norm": (
        perceptron(nn.LayerNorm(8)),
        Cuts(
            tensors=cut(f"{FIRST} 1.weight 1.bias", "2.weight").tensors,
            attributes=[Attribute(module="1", name="normalized_shape", value=[4])],
        ),
        TOKENS,
    ),
    "a constant is dropped": (net(nn.Sigmoid(), kernel=1), cut(FIRST, "2.weight"), IMAGES),
    "the softmax scale": (Attention(), HEADED, TOKENS),
    "the length of what is read": (
        nn.Sequential(nn.Linear(6, 8), weight_norm(nn.Linear(8, 3))),
        cut(FIRST, "1.parametrizations.weight.original1"),
        TOKENS,
    ),
    "a matrix of its own": (
        OwnMatrix(),
        Cuts(tensors=[*cut("first.weight first.bias").tensors, *cut("mix", kept=OTHER).tensors]),
        TOKENS,
    ),
    "summed along the channels": (
        nn.Sequential(nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 3)),
        cut(FIRST, "2.weight"),
        TOKENS,
    ),
}


@pytest.mark.parametrize("name", AGREE)
def test_right_cuts_agree(name):
    assert found(*AGREE[name]) < RIGHT


@pytest.mark.parametrize("name", DIFFER)
def test_wrong_cuts_do_not(name):
    assert found(*DIFFER[name]) > WRONG


def test_a_folded_scale_agrees():
    assert found(Attention(), HEADED, TOKENS, scaled) < RIGHT


def test_a_folded_constant_agrees():
    model, cuts, size = DIFFER["a constant is dropped"]
    randomise_(model, torch.Generator().manual_seed(1))
    assert found(model, cuts, size, folded(model)) < RIGHT


def test_an_unknown_parametrization_has_no_reference():
    model = nn.Sequential(spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 3))
    with pytest.raises(NoReference, match="_SpectralNorm"):
        zeroed(model, cut("0.parametrizations.weight.original", "1.weight"))


def test_other_shapes_and_nan_are_infinitely_wrong():
    x = (torch.ones(2, 6),)
    assert relative_error(nn.Linear(6, 2), nn.Linear(6, 3), x) == float("inf")
    broken = nn.Linear(6, 3)
    nn.init.constant_(broken.weight, float("nan"))
    assert relative_error(broken, nn.Linear(6, 3), x) == float("inf")


def test_every_saved_float_tensor_is_drawn():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.GRU(8, 8), nn.MultiheadAttention(8, 2))
    model.register_buffer("order", torch.arange(4))
    model.register_buffer("derived", torch.zeros(4), persistent=False)
    model.table = nn.Parameter(torch.zeros(1, 4, 8))
    before = copy.deepcopy(model.state_dict())
    randomise_(model, torch.Generator().manual_seed(0))
    for name, tensor in model.state_dict().items():
        changed = not torch.equal(tensor, before[name])
        assert changed == (name != "order" and "num_batches" not in name), name
    assert not model.derived.any()
    for scale in (model[1].weight, model[1].running_var):
        assert scale.min() >= 0.5 and scale.max() <= 1.5
    again = randomise_(copy.deepcopy(model), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
