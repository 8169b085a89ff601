"""classwise/head.py: the layer that gives the outputs, and the one that a member has in its place."""

import pytest
import torch
from tiny import conv_net, mlp, same_bits, seeded, state_of
from torch import nn

from prunelle.classwise.head import Head, features_of, head_of, member_of, narrowed, wide_member_of
from prunelle.classwise.teacher import widened
from prunelle.errors import ModelError
from prunelle.models.load import build

pytestmark = pytest.mark.usefixtures("one_thread")
ZOO = {
    "lenet_300_100": ((1, 8, 8), "fc3"),
    "lenet5": ((1, 28, 28), "fc2"),
    "lenet5_small": ((1, 12, 12), "fc2"),
    "resnet20": ((3, 16, 16), "linear"),
    "resnet18_cifar": ((3, 16, 16), "fc"),
    "vgg16_bn_cifar": ((3, 32, 32), "classifier"),
    "mobilenet_v2_cifar": ((3, 16, 16), "classifier.1"),
    "shufflenet_v2": ((3, 64, 64), "fc"),
}


@pytest.mark.parametrize("name", ZOO)
def test_the_head_of_every_family_is_found(name):
    shape, path = ZOO[name]
    assert head_of(build(name, input_shape=shape, num_classes=10).eval(), torch.rand(1, *shape)) == Head(path)


def pixels(num: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


class Hidden(nn.Module):
    """Its last layer is first by name and by registration."""

    def __init__(self):
        super().__init__()
        self.a_last, self.z_first = nn.Linear(10, 3), nn.Linear(72, 10)

    def forward(self, images):
        return self.a_last(self.z_first(images.flatten(1)).relu())


class Pointwise(nn.Module):
    def __init__(self, bias: bool = True):
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 3, 1, bias=bias)

    def forward(self, images):
        return self.head(self.body(images).relu()).mean((2, 3))


def test_the_head_is_found_by_the_graph_not_by_order():
    assert head_of(Hidden(), pixels(1)) == Head("a_last")


def test_a_pointwise_convolution_under_a_mean_is_a_head():
    model = Pointwise()
    assert head_of(model, pixels(1)) == Head("head")
    member = member_of(model, Head("head"), (2, 0), [(pixels(200), torch.zeros(200))])
    assert member.head.out_channels == 3 and member.head.weight.shape == (3, 5, 1, 1)
    assert torch.allclose(member(pixels(9, 1))[:, 1:], model(pixels(9, 1))[:, [2, 0]], atol=1e-6)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(72, 3), nn.Linear(72, 3)

    def forward(self, images):
        return torch.cat([self.left(images.flatten(1)), self.right(images.flatten(1))], 1)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1)),
        Sum(),
        nn.Flatten(),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten()),
    ],
    ids=["3x3", "a map of pixels", "two heads", "none", "pixels as outputs"],
)
def test_a_network_that_ends_in_something_else_is_refused(model):
    with pytest.raises(ModelError) as caught:
        head_of(model.eval(), pixels(1))
    text = str(caught.value)
    assert text.startswith(f"{type(model).__name__}: its outputs do not come from a linear layer or 1x1 convolution")
    assert text.endswith("give a network that ends in one.") and "\n" not in text


@pytest.mark.parametrize("group", [(1, 4), (5, 0, 2), (3, 1, 0, 2, 4)])
def test_rows_of_own_classes_are_the_networks_own(group):
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 6))).eval()
    before = state_of(model)
    member = member_of(model, Head("3"), group, [(pixels(64), torch.zeros(64))])
    assert torch.equal(member[3].weight[1:], model[3].weight[list(group)])
    assert torch.equal(member[3].bias[1:], model[3].bias[list(group)])
    assert member[3].out_features == len(group) + 1 and member[3].weight.requires_grad and not member.training
    images = pixels(20, 1)
    assert torch.allclose(member(images)[:, 1:], model(images)[:, list(group)], atol=1e-6)
    assert same_bits(state_of(model), before) and model[3].out_features == 6
    assert member[1].weight is not model[1].weight and same_bits(state_of(member[1]), state_of(model[1]))
    assert not model[3]._forward_pre_hooks and not member[3]._forward_pre_hooks


def almost_linear() -> nn.Module:
    """Class 2 is far above the others outside the group, so that their log-sum-exp is its output."""
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4))).eval()
    with torch.no_grad():
        model[1].bias[2] += 100
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_none_of_mine_is_the_log_sum_exp_where_that_is_linear(bias):
    model = almost_linear()
    if not bias:
        model[1].bias = None
        with torch.no_grad():
            model[1].weight[2, 0], model[1].weight[3, 0] = 0.0, 0.0
            model[1].weight[3] = model[1].weight[2] - 50 * torch.eye(72)[0]
    images = pixels(500)
    images[:, 0, 0, 0] = 1 + images[:, 0, 0, 0].abs()
    member = member_of(model, Head("1"), (0, 1), [(images[:250], torch.zeros(250)), (images[250:], torch.zeros(250))])
    others = pixels(50, 7)
    others[:, 0, 0, 0] = 1 + others[:, 0, 0, 0].abs()
    wanted = widened(model(others), (0, 1))[:, :3]
    assert torch.allclose(member(others), wanted, atol=0.15)
    assert (member[1].bias is None) == (not bias)


def test_on_any_network_it_is_the_best_line_through_the_log_sum_exp():
    """As numpy's least squares finds it, up to the small ridge."""
    model = mlp().eval()
    images = pixels(300)
    member = member_of(model, Head("3"), (1,), [(images, torch.zeros(300))])
    assert member(images).shape == (300, 1) and member[3].out_features == 1
    with torch.no_grad():
        features = model[2](model[1](images.flatten(1))).double()
        wanted = (model(images)[:, 1] - model(images)[:, [0, 2]].logsumexp(1)).double()
        ones = torch.cat([features, torch.ones(300, 1).double()], 1)
        line = ones @ torch.linalg.lstsq(ones, wanted[:, None]).solution
        off, least = (((each[:, 0] - wanted) ** 2).mean() for each in (member(images).double(), line))
    assert least <= off < least + 1e-4 * float(wanted.var())


def test_a_group_of_all_classes_changes_nothing():
    model = conv_net().eval()
    member = member_of(model, Head("8"), (0, 1, 2), [])
    assert same_bits(state_of(member), state_of(model)) and member is not model
    assert torch.equal(member(pixels(3)), model(pixels(3)))


@pytest.mark.parametrize("group", [(2,), (1, 0)])
def test_a_wide_member_knows_the_others_too_and_narrowed_it_is_the_member(group):
    model = mlp().eval()
    batches = [(pixels(64), torch.zeros(64))]
    wide = wide_member_of(model, Head("3"), group, batches)
    rest = [number for number in range(3) if number not in group]
    assert torch.equal(wide[3].weight[1:], model[3].weight[[*group, *rest]])
    narrow = narrowed(wide, Head("3"), group, 3)
    assert same_bits(state_of(narrow), state_of(member_of(model, Head("3"), group, batches)))
    assert wide[3].out_features == 4 and narrow[3].out_features == (1 if len(group) == 1 else 3)


def test_hooks_go_even_when_the_block_fails():
    layer = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), features_of(layer) as found:
        layer(torch.ones(1, 2))
        assert found[0].tolist() == [[1.0, 1.0]]
        raise ZeroDivisionError
    assert not layer._forward_pre_hooks
