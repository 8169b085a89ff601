import pytest
import torch
from pydantic import ValidationError
from tiny import same_bits, state_of
from torch import nn

from prunelle.errors import ShapeError
from prunelle.graph.cuts import Attribute, Cut, Cuts, Replaced, replay_


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


HALF = Cuts(
    tensors=[
        *(Cut(tensor=name, axis=0, kept=[1, 3]) for name in ("0.weight", "0.bias", "1.weight", "1.bias")),
        *(Cut(tensor=name, axis=0, kept=[1, 3]) for name in ("1.running_mean", "1.running_var")),
        Cut(tensor="2.weight", axis=1, kept=[1, 3]),
    ],
    attributes=[
        Attribute(module="0", name="out_channels", value=2),
        Attribute(module="1", name="num_features", value=2),
        Attribute(module="2", name="in_channels", value=2),
    ],
)


def test_a_network_cut_by_hand():
    model = net().eval()
    with torch.no_grad():
        model[1].running_mean.normal_()
    before = state_of(model)
    replay_(model, HALF)
    assert model[0].out_channels == 2 and model[1].num_features == 2 and model[2].in_channels == 2
    for name, tensor in model.state_dict().items():
        if name not in ("2.bias", "1.num_batches_tracked"):
            assert torch.equal(tensor, before[name][:, [1, 3]] if name == "2.weight" else before[name][[1, 3]])
    dense = net()
    dense.load_state_dict(before)
    with torch.no_grad():
        dense[2].weight[:, [0, 2]] = 0.0
    image = torch.randn(2, 1, 5, 5)
    assert torch.allclose(model(image), dense.eval()(image), atol=1e-6)


def test_no_cuts_change_nothing():
    model = net()
    before, parameters = state_of(model), list(model.parameters())
    replay_(model, Cuts())
    assert same_bits(state_of(model), before)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_cuts_of_one_tensor_follow_each_other():
    model = nn.Linear(4, 4, bias=False)
    before = model.weight.detach().clone()
    cuts = [Cut(tensor="weight", axis=0, kept=[1, 2, 3]), Cut(tensor="weight", axis=1, kept=[0, 2])]
    replay_(model, Cuts(tensors=[*cuts, Cut(tensor="weight", axis=0, kept=[1])]))
    assert torch.equal(model.weight, before[[2]][:, [0, 2]])


def test_frozen_and_trained_stay_so():
    model = nn.Linear(4, 4)
    model.weight.requires_grad_(False)
    replay_(model, Cuts(tensors=[Cut(tensor=name, axis=0, kept=[0]) for name in ("weight", "bias")]))
    assert not model.weight.requires_grad and model.bias.requires_grad


def test_shared_weights_stay_shared():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    replay_(model, Cuts(tensors=[Cut(tensor="1.weight", axis=1, kept=[0, 3])]))
    assert model[0].weight is model[1].weight and model[0].weight.shape == (4, 2)


def test_a_tuple_of_sizes():
    model = nn.LayerNorm((4, 6))
    cuts = Cuts(
        tensors=[Cut(tensor=name, axis=1, kept=[0, 5]) for name in ("weight", "bias")],
        attributes=[Attribute(module="", name="normalized_shape", value=[4, 2])],
    )
    replay_(model, cuts)
    assert model(torch.zeros(1, 4, 2)).shape == (1, 4, 2) and model.normalized_shape == (4, 2)


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({"tensors": [Cut(tensor="9.weight", axis=0, kept=[0])]}, "the model has no tensor 9.weight"),
        ({"tensors": [Cut(tensor="0.bias", axis=1, kept=[0])]}, r"0.bias has shape \(4,\), axis 1 up to index 0"),
        ({"tensors": [Cut(tensor="0.bias", axis=0, kept=[4])]}, "axis 0 up to index 4 is to be kept; give the module"),
        ({"tensors": [Cut(tensor="0.bias", axis=0, kept=[])]}, "up to index None"),
        ({"tensors": [Cut(tensor="0.bias", axis=0, kept=[1, 1])]}, "kept indices must ascend"),
        ({"tensors": [Cut(tensor="0.bias", axis=0, kept=[2, 1])]}, "kept indices must ascend"),
        ({"attributes": [Attribute(module="0", name="nothing", value=1)]}, "0.nothing is None, no size"),
        ({"attributes": [Attribute(module="7", name="out_channels", value=1)]}, "7.out_channels is None"),
        (
            {"attributes": [Attribute(module="0", name="out_channels", value=5)]},
            "0.out_channels is 4, no size that can",
        ),
        ({"attributes": [Attribute(module="0", name="out_channels", value=[1])]}, "0.out_channels is 4"),
        ({"attributes": [Attribute(module="0", name="training", value=1)]}, "0.training is True"),
        ({"attributes": [Attribute(module="0", name="_parameters", value=1)]}, "0._parameters is"),
        ({"attributes": [Attribute(module="0", name="kernel_size", value=[1])]}, r"0.kernel_size is \(3, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_cut(cuts, message):
    model = net()
    before = state_of(model)
    good = Cut(tensor="0.weight", axis=0, kept=[0])
    with pytest.raises(ShapeError, match=message):
        replay_(model, Cuts(tensors=[good, *cuts.get("tensors", [])], attributes=cuts.get("attributes", [])))
    assert same_bits(state_of(model), before)


def test_cuts_survive_json_and_refuse_what_is_no_cut():
    assert Cuts.model_validate_json(HALF.model_dump_json()) == HALF
    for bad in ({"tensor": "w", "axis": -1, "kept": [0]}, {"tensor": "w", "axis": 0, "kept": [-1]}):
        with pytest.raises(ValidationError):
            Cut.model_validate(bad)
    with pytest.raises(ValidationError):
        Cuts.model_validate({"tensors": [], "more": 1})


def test_a_grouped_convolution_keeps_other_inputs_in_each_group() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2, bias=False))
    weight = model[0].weight.detach().clone()
    replay_(model, Cuts(tensors=[Cut(tensor="0.weight", axis=1, kept=[0, 1], groups=2)]))
    assert torch.equal(model[0].weight[:, 0], torch.cat([weight[:2, 0], weight[2:, 1]]))


def test_groups_that_do_not_divide_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2, bias=False))
    for cut in (
        Cut(tensor="0.weight", axis=1, kept=[0, 1, 0], groups=2),
        Cut(tensor="0.weight", axis=1, kept=[0, 1, 0], groups=3),
        Cut(tensor="0.weight", axis=0, kept=[0, 0], groups=2),
    ):
        with pytest.raises(ShapeError, match="groups cannot be kept"):
            replay_(model, Cuts(tensors=[cut]))


def test_a_module_gives_way_to_the_identity_or_to_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    x = torch.randn(2, 3)
    replay_(model, Cuts(replaced=[Replaced(module="0", by="identity")]))
    assert torch.equal(model(x), x.relu())
    replay_(model, Cuts(replaced=[Replaced(module="1", by="nothing")]))
    assert model(x) == 0
    with pytest.raises(ShapeError, match="no module '2'"):
        replay_(model, Cuts(replaced=[Replaced(module="2", by="nothing")]))


def test_a_later_replacement_takes_earlier_cuts_inside_it_along() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3)), nn.Linear(3, 2))
    narrow = Cuts(
        tensors=[
            Cut(tensor="0.0.weight", axis=0, kept=[1]),
            Cut(tensor="0.0.bias", axis=0, kept=[1]),
            Cut(tensor="0.1.weight", axis=1, kept=[1]),
        ],
        attributes=[Attribute(module="0.0", name="out_features", value=1)],
    )
    both = narrow.then(Cuts(replaced=[Replaced(module="0", by="identity")]))
    replay_(model, both)
    x = torch.randn(5, 3)
    assert torch.equal(model(x), model[1](x))
