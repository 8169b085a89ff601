"""models/members.py: several networks that answer as one, their spec, and what is saved of them."""

import copy

import pytest
import torch
from tiny import same_bits, seeded, state_of
from torch import nn

from prunelle.errors import InputError, ModelError, ShapeError, UntrustedCodeError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.graph.cuts import Attribute, Cut, Cuts, Replaced, replay_
from prunelle.models.load import build, default_shape
from prunelle.models.members import (
    Calibration,
    Members,
    combined,
    covers,
    groups_of,
    members_spec,
    num_outputs,
    own_classes,
    places,
    text_of,
)
from prunelle.models.names import ModelSpec, check_spec
from prunelle.models.open import open_model
from prunelle.models.save import MANIFEST, Builder, load, read_folder, save
from prunelle.prune.channels import plan_channels

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (1, 12, 12)
GROUPS = ((0, 2, 3), (1,))
SPEC = "classwise:0,2,3/1:lenet5_small"


class Says(nn.Module):
    """The same outputs for every image."""

    def __init__(self, *outputs: float):
        super().__init__()
        self.outputs = nn.Parameter(torch.tensor(outputs))

    def forward(self, images):
        return self.outputs.expand(len(images), -1)


def test_the_joint_answer_by_hand():
    model = Members([Says(0.0, 1.0, 2.0), Says(0.0)], ((0, 2), (1,)))
    # e^0 + e^1 + e^2 = 11.107338: .244728 and .665241; of a single class with even odds .5; together 1.409969.
    assert model(torch.zeros(2, 1))[0].exp().tolist() == pytest.approx([0.173570, 0.354618, 0.471812], abs=1e-5)
    assert model(torch.zeros(2, 1)).shape == (2, 3)


def test_temperatures_change_who_wins():
    model = Members([Says(0.0, 2.0, 0.0), Says(1.0)], ((0, 2), (1,)))
    assert model(torch.zeros(1, 1)).argmax().item() == 0  # .79 against .73
    model.temperatures.copy_(torch.tensor([2.0, 1.0]))
    # Of (0, 1, 0): e / (e + 2) = .576117 and .211942; of log-odds 1: .731059; together 1.519118.
    assert model(torch.zeros(1, 1)).exp()[0, :2].tolist() == pytest.approx([0.379245, 0.481239], abs=1e-5)
    assert model(torch.zeros(1, 1)).argmax().item() == 1


def test_biases_change_who_wins():
    model = Members([Says(0.0, 1.0, 0.0), Says(1.0)], ((0, 2), (1,)))
    assert model(torch.zeros(1, 1)).argmax().item() == 1  # .58 against .73
    model.biases.copy_(torch.tensor([2.0, -1.0]))
    # Of (-2, 1, 0): e / (e^-2 + e + 1) = .705385 and .259497; of log-odds 0: 1/2; together 1.464882.
    assert model(torch.zeros(1, 1)).exp()[0, :2].tolist() == pytest.approx([0.481530, 0.341324], abs=1e-5)
    assert model(torch.zeros(1, 1)).argmax().item() == 0


def test_none_of_mine_lowers_every_own_class_and_is_no_answer():
    sure, unsure = own_classes(torch.tensor([[-9.0, 0.0, 1.0], [9.0, 0.0, 1.0]]))
    assert sure.exp().sum() == pytest.approx(1.0, abs=1e-3) and unsure.exp().sum() < 1e-3
    assert (sure[1] - sure[0]).item() == pytest.approx((unsure[1] - unsure[0]).item(), abs=1e-5) == 1.0


def test_one_log_odds_is_two_columns():
    odds = torch.linspace(-30, 30, 13)[:, None]
    both = torch.cat([torch.zeros_like(odds), odds], 1)
    assert torch.allclose(own_classes(odds), torch.log_softmax(both, 1)[:, 1:], atol=1e-6)


def test_any_groups_agree_with_the_plain_version():
    draws = torch.Generator().manual_seed(0)
    for groups in (((0, 1, 2, 3, 4), (5, 6, 7)), ((7, 0), (3,), (1, 6, 2), (5, 4)), tuple((c,) for c in range(8))):
        outputs = [torch.randn(6, num_outputs(group), generator=draws) for group in groups]
        temperatures = 0.5 + torch.rand(len(groups), generator=draws)
        biases = torch.randn(len(groups), generator=draws)
        found = combined(outputs, Calibration(temperatures, biases), places(groups))
        wanted = torch.zeros(6, 8)
        for number, group in enumerate(groups):
            for image in range(6):
                row = (outputs[number][image] / temperatures[number]).tolist()
                row = [0.0, *row] if len(group) == 1 else row
                row[0] -= biases[number].item()
                wanted[image, list(group)] = torch.tensor(row).softmax(0)[1:]
        assert torch.allclose(found.exp(), wanted / wanted.sum(1, keepdim=True), rtol=1e-4)


def test_words_and_groups():
    assert groups_of(text_of(GROUPS)) == GROUPS and text_of(GROUPS) == "0,2,3/1"
    assert members_spec("lenet5_small", GROUPS) == SPEC
    assert check_spec(SPEC) == ModelSpec("members", "lenet5_small", groups="0,2,3/1")
    assert default_shape(SPEC) == (1, 28, 28)
    assert covers((1, 0), 2) and not covers((1, 0), 3)
    assert places(((2, 0), (1,))).tolist() == [1, 2, 0]


@pytest.mark.parametrize("groups", [((0,),), ((0, 1), (1, 2)), ((0,), (2,)), ((0, 1), ()), ((1,), (2,)), ()])
def test_groups_that_do_not_hold_each_class_once_are_refused(groups):
    with pytest.raises(ModelError, match=r"must hold each class from 0 on once, in no empty group\.$"):
        Members([Says(0.0) for _ in groups], groups)


def test_a_network_a_group():
    with pytest.raises(ModelError, match=r"^members: 1 networks for 2 groups, must be one for each\.$"):
        Members([Says(0.0)], ((0,), (1,)))


def test_building_gives_members_of_fitting_heads():
    model = build(SPEC, input_shape=SHAPE, num_classes=4)
    assert [member(torch.zeros(2, *SHAPE)).shape[1] for member in model.members] == [4, 1]
    assert model(torch.zeros(2, *SHAPE)).shape == (2, 4)
    assert model.temperatures.tolist() == [1, 1] and model.biases.tolist() == [0, 0]
    assert "places" not in model.state_dict()


@pytest.mark.parametrize(
    "spec, error, text",
    [
        ("classwise:0,1/1:lenet5_small", ModelError, "must hold each class from 0 on once"),
        ("classwise:0/2:lenet5_small", ModelError, "must hold each class from 0 on once"),
        ("classwise:0,1:lenet5_small", ShapeError, "its groups hold 2 classes, 4 are asked for"),
        ("classwise:0//1:lenet5_small", ModelError, "must be class numbers such as 0,1,2/3,4"),
        ("classwise:0,-1/2:lenet5_small", ModelError, "must be class numbers"),
        ("classwise:0,1/99999999999:lenet5_small", ModelError, "must be class numbers"),
        ("classwise:0,1/99999999:lenet5_small", ModelError, "must hold each class from 0 on once"),
        ("classwise:0/1:classwise:0/1:lenet5_small", ModelError, "must be classwise:GROUPS:MODEL"),
        ("classwise:0/1", ModelError, "must be classwise:GROUPS:MODEL"),
        ("classwise::lenet5_small", ModelError, "must be classwise:GROUPS:MODEL"),
        ("classwise:0/1:lenet6", ModelError, "'lenet6': no model of this name, did you mean"),
        ("classwise:0/1:net.py:make", UntrustedCodeError, "runs the code in net.py; pass --trust"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(spec, error, text):
    with pytest.raises(error) as caught:
        build(spec, input_shape=SHAPE, num_classes=4)
    assert text in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2


def cut_members(amounts=(0.5, 0.25)) -> tuple[Members, Cuts]:
    """Members of different widths, and the cuts of them all."""
    members, cuts = [], Cuts()
    for number, (group, amount) in enumerate(zip(GROUPS, amounts, strict=True)):
        member = seeded(lambda: build("lenet5_small", input_shape=SHAPE, num_classes=num_outputs(group)), number).eval()  # noqa: B023
        plan = plan_channels(member, torch.rand(2, *SHAPE), amount)
        members.append(plan.apply(member))
        cuts = cuts.then(plan.cuts.inside(f"members.{number}"))
    joined = Members(members, GROUPS).eval()
    joined.temperatures.copy_(torch.tensor([1.5, 0.75]))
    joined.biases.copy_(torch.tensor([0.5, -0.25]))
    return joined, cuts


BUILDER = Builder(spec=SPEC, input_shape=list(SHAPE), num_classes=4)


def test_a_joined_network_comes_back_bit_for_bit(tmp_path):
    model, cuts = cut_members()
    widths = [member.conv1.weight.shape[0] for member in model.members]
    assert widths[0] < widths[1]
    save(model, tmp_path / "m", builder=BUILDER, cuts=cuts, class_names=tuple("abcd"))
    back = load(tmp_path / "m")
    opened = open_model(str(tmp_path / "m"))
    images = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    for other in (back, opened.model):
        assert isinstance(other, Members) and other.groups == GROUPS
        assert same_bits(state_of(other), state_of(model))
        assert torch.equal(other(images), model(images))
    assert opened.class_names == tuple("abcd") and opened.input_shape == SHAPE
    save(opened.model, tmp_path / "again", builder=opened.builder, cuts=opened.cuts, class_names=opened.class_names)
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (tmp_path / "m" / MANIFEST).read_bytes()


def test_uncut_members_need_no_cuts(tmp_path):
    model = open_model(SPEC, input_shape=SHAPE, seed=3)
    assert model.builder == BUILDER
    save(model.model, tmp_path / "m", builder=model.builder)
    assert same_bits(state_of(load(tmp_path / "m")), state_of(model.model))


@pytest.mark.parametrize(
    "spec, num_classes",
    [
        ("classwise:0,2/1,2:lenet5_small", 4),
        ("classwise:0,2/1:lenet5_small", 4),
        ("classwise:0,2,3/1:classwise:0/1:lenet5_small", 4),
        (SPEC, 5),
        ("classwise:0,2/1,3:lenet5_small", 4),
        ("classwise:0,2,3/1:net.py:make", 4),
    ],
)
def test_a_folder_that_lies_about_its_members_is_refused(tmp_path, spec, num_classes):
    """As a stranger may write it: sealed, with hashes that fit."""
    model, cuts = cut_members()
    save(model, tmp_path / "m", builder=BUILDER, cuts=cuts)
    manifest = read_sealed_json(tmp_path / "m" / MANIFEST)
    manifest["builder"] |= {"spec": spec, "num_classes": num_classes}
    write_sealed_json(tmp_path / "m" / MANIFEST, manifest)
    assert read_folder(tmp_path / "m")[0].builder.spec == spec
    wanted = UntrustedCodeError if ".py" in spec else InputError
    with pytest.raises(wanted) as caught:
        load(tmp_path / "m")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_cuts_inside_another_module_by_hand():
    cuts = Cuts(
        tensors=[Cut(tensor="weight", axis=0, kept=[1])],
        attributes=[Attribute(module="", name="out_features", value=1), Attribute(module="a.b", name="n", value=2)],
        replaced=[Replaced(module="c", by="identity")],
    )
    found = cuts.inside("members.0")
    assert [cut.tensor for cut in found.tensors] == ["members.0.weight"]
    assert [a.module for a in found.attributes] == ["members.0", "members.0.a.b"]
    assert [one.module for one in found.replaced] == ["members.0.c"]
    assert found.tensors[0].kept == [1] and cuts.tensors[0].tensor == "weight"
    assert Cuts().inside("members.0") == Cuts()


def test_cutting_inside_is_cutting_the_module_itself():
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)})
    alone = copy.deepcopy(model["a"])
    cuts = Cuts(
        tensors=[Cut(tensor="weight", axis=0, kept=[1]), Cut(tensor="bias", axis=0, kept=[1])],
        attributes=[Attribute(module="", name="out_features", value=1)],
    )
    other = state_of(model["b"])
    replay_(model, cuts.inside("a"))
    replay_(alone, cuts)
    assert same_bits(state_of(model["a"]), state_of(alone)) and model["a"].out_features == 1
    assert same_bits(state_of(model["b"]), other)
