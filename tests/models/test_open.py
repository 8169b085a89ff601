from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import same_bits, small_task, state_of
from torch import nn

from prunelle.data.task import Preprocessing
from prunelle.errors import ModelError, SettingError, UntrustedCodeError, WeightsError
from prunelle.models.load import build
from prunelle.models.open import check_fits, open_model, outputs
from prunelle.models.save import Builder, save


def test_a_name_gives_the_same_random_weights_for_a_seed():
    first, second, other = (open_model("lenet_300_100", seed=seed).model for seed in (3, 3, 4))
    assert same_bits(state_of(first), state_of(second)) and not same_bits(state_of(first), state_of(other))
    assert not first.training


def test_opening_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    open_model("lenet_300_100")
    assert torch.equal(torch.rand(1), expected)


def test_what_was_opened_can_be_saved_and_opened_again(tmp_path):
    opened = open_model("lenet5_small", input_shape=(2, 12, 12), num_classes=4)
    assert opened.builder == Builder(spec="lenet5_small", input_shape=[2, 12, 12], num_classes=4)
    save(opened.model, tmp_path, builder=opened.builder, cuts=opened.cuts, class_names=("a", "b", "c", "d"))
    again = open_model(str(tmp_path))
    assert same_bits(state_of(again.model), state_of(opened.model))
    assert (again.builder, again.cuts, again.input_shape) == (opened.builder, opened.cuts, (2, 12, 12))
    assert again.class_names == ("a", "b", "c", "d") and again.preprocessing is None and not again.model.training


def test_weights_from_a_file(tmp_path):
    model = build("lenet_300_100")
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    opened = open_model("lenet_300_100", weights=tmp_path / "w.safetensors")
    assert same_bits(state_of(opened.model), state_of(model))
    with pytest.raises(WeightsError):
        open_model("lenet5", weights=tmp_path / "w.safetensors")


def test_a_users_file_without_a_shape_has_no_builder(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))\n")
    with pytest.raises(UntrustedCodeError):
        open_model(f"{file}:make")
    assert open_model(f"{file}:make", trust=True).builder is None
    opened = open_model(f"{file}:make", input_shape=(3, 2, 2), trust=True)
    assert opened.builder == Builder(spec=f"{file}:make", input_shape=[3, 2, 2], num_classes=5)


def test_a_folder_brings_its_own_weights(tmp_path):
    save(build("lenet5"), tmp_path)
    with pytest.raises(SettingError, match=r"--weights w.pth: .* has weights of its own; pass one of the two"):
        open_model(str(tmp_path), weights="w.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no model.json; give a folder that prunelle saved a model in, or a"):
        open_model(str(tmp_path / "empty"))


def test_outputs_counts_and_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 7)).double().train()
    before = state_of(model)
    assert outputs(model, "net", (3, 2, 2)) == 7
    assert same_bits(state_of(model), before) and model.training


def test_outputs_refuses_in_one_sentence():
    with pytest.raises(
        ModelError,
        match=r"image of \(3, 9, 9\) \(.*mat1 and .*; give it the images it was made for, by --data or --input C,H,W",
    ):
        outputs(nn.Sequential(nn.Flatten(), nn.Linear(12, 7)), "net", (3, 9, 9))
    for model in (nn.Conv2d(3, 4, 1), nn.LSTM(2, 2)):
        with pytest.raises(ModelError, match=r"net: must return one tensor of shape \(N, classes\)"):
            outputs(nn.Sequential(nn.Flatten(2), model) if isinstance(model, nn.LSTM) else model, "net", (3, 2, 1))


def test_check_fits():
    task = small_task()
    opened = open_model("lenet_300_100", input_shape=task.input_shape, num_classes=3)
    check_fits(opened, "net", task)
    check_fits(replace(opened, preprocessing=task.preprocessing), "net", task)
    with pytest.raises(WeightsError, match=r"net: was made for images normalised by .*small has .*; use the data set"):
        check_fits(replace(opened, preprocessing=Preprocessing((0.0, 0.0), (1.0, 1.0))), "net", task)
    other = open_model("lenet_300_100", input_shape=task.input_shape, num_classes=4)
    with pytest.raises(ModelError, match="net: gives 4 outputs and small has 3 classes; use a fitting one"):
        check_fits(other, "net", task)
