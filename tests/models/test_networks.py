"""Sizes and structure of the named networks, from their papers and worked out by hand."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from prunelle.graph.cuts import Cuts, Replaced, replay_
from prunelle.models.lenet import lenet5_small, lenet_300_100
from prunelle.models.load import build
from prunelle.models.resnet import PaddedBlock, resnet20
from prunelle.models.shufflenet import _shuffle
from prunelle.models.timm_zoo import _import_torchvision

LINKS = [f"layer{n}.{block}.downsample" for n, block in ((1, 0), (1, 1), (2, 1), (3, 1), (4, 1))]


def needs_timm():
    if find_spec("timm") is None:
        pytest.skip("the vision extra is not installed")


def num_params(name):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name).parameters())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lenet_300_100", 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10),
        ("lenet5", 431_080),
        ("lenet5_small", 29_456),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("mobilenet_v2", 3_504_872),
        ("shufflenet_v2", 2_278_604),
    ],
)
def test_exact_parameter_counts(name, params):
    assert num_params(name) == params


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85), ("resnet110", 1.7)],
)
def test_cifar_resnets_have_the_sizes_of_the_paper(name, millions):
    assert num_params(name) / 1e6 == pytest.approx(millions, rel=0.02)


def test_lenet5_small_meets_216_inputs():
    model = lenet5_small()
    assert model.get_submodule("fc1").in_features == 216
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_lenet_300_100_takes_digits():
    model = lenet_300_100(input_shape=(1, 8, 8))
    assert [m.in_features for m in model.modules() if isinstance(m, nn.Linear)] == [64, 300, 100]


@pytest.mark.parametrize("shape", [(1, 1, 17, 30), (1, 1, 16, 16), (1, 1, 33, 21)])
@pytest.mark.parametrize("name", ["lenet5", "lenet5_small", "alexnet_cifar"])
def test_odd_image_sizes_give_the_right_first_linear_layer(name, shape):
    assert build(name, input_shape=shape[1:])(torch.zeros(shape)).shape == (1, 10)


def test_padded_shortcut_by_hand():
    block = PaddedBlock(2, 4, stride=2)
    nn.init.zeros_(block.bn2.weight)  # the branch gives 0, the shortcut alone is left
    x = torch.arange(1.0, 33.0).view(1, 2, 4, 4)
    out = block.eval()(x)
    assert out.shape == (1, 4, 2, 2)
    assert torch.equal(out[:, 1:3], x[:, :, ::2, ::2])
    assert not out[:, 0].any() and not out[:, 3].any()


def test_padding_of_a_shortcut_is_read_when_it_runs():
    block = PaddedBlock(2, 4, stride=2)
    block.shortcut.padding = (0, 2)
    x = torch.ones(1, 2, 4, 4)
    assert block.shortcut(x).sum(dim=(0, 2, 3)).tolist() == [4, 4, 0, 0]


@pytest.mark.parametrize(
    ("name", "links"),
    [("resnet20", [f"layer{n}.{block}.shortcut" for n in (1, 2, 3) for block in range(3)]), ("resnet18_cifar", LINKS)],
)
def test_links_without_weights_can_be_cut(name, links):
    model = build(name).eval()
    bare = [path for path, module in model.named_modules() if path.endswith(("shortcut", "downsample"))]
    assert [path for path in bare if not list(model.get_submodule(path).parameters())] == links
    x = torch.randn(2, 3, 32, 32)
    whole = model(x)
    replay_(model, Cuts(replaced=[Replaced(module=link, by="nothing") for link in links]))
    assert model(x).shape == whole.shape and not torch.equal(model(x), whole)


def test_resnet20_names_are_the_published_ones():
    names = set(resnet20().state_dict())
    assert {"conv1.weight", "bn1.bias", "layer3.2.conv2.weight", "layer2.0.bn1.running_var", "linear.bias"} <= names
    assert not any("shortcut" in name or "downsample" in name for name in names)


def test_channel_shuffle_takes_halves_in_turn():
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert _shuffle(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("resnet18", "resnet18"),
        ("resnet50", "resnet50"),
        ("mobilenet_v2", "mobilenet_v2"),
        ("shufflenet_v2", "shufflenet_v2_x1_0"),
    ],
)
def test_torchvision_weights_fit_and_give_the_same_outputs(ours, theirs):
    needs_timm()
    _import_torchvision()
    import torchvision

    torch.manual_seed(0)
    model = build(ours).eval()
    reference = getattr(torchvision.models, theirs)(weights=None).eval()
    reference.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model(x), reference(x), atol=1e-5)
