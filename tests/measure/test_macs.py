from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune

from prunelle.errors import ModelError
from prunelle.measure.macs import count_macs
from prunelle.measure.operators import OPERANDS, formula
from prunelle.models.load import build


def layers(count):
    return {layer.name: layer.macs for layer in count.layers}


def ones_(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    return model


def on_meta(name):
    with torch.device("meta"):
        return build(name)


def test_lenet_300_100_and_its_historical_total():
    count = count_macs(build("lenet_300_100"), torch.zeros(1, 1, 28, 28))
    assert layers(count) == {"fc1": 235_200, "fc2": 30_000, "fc3": 1_000}
    assert count.total == 266_200 and not count.uncounted
    assert 2 * count.total == 532_400, "the historical total counts 2 FLOPs a multiply-add"


def test_lenet5_small_and_its_historical_total():
    count = count_macs(build("lenet5_small"), torch.zeros(1, 1, 28, 28))
    assert layers(count) == {
        "conv1": 26 * 26 * 6 * 9,
        "conv2": 11 * 11 * 6 * 6 * 9,
        "fc1": 216 * 128,
        "fc2": 128 * 10,
    }
    assert count.total == 104_636 and not count.uncounted
    assert 2 * count.total == 209_272, "the historical total counts 2 FLOPs a multiply-add"


@pytest.mark.parametrize(
    ("name", "billions"), [("resnet50", 4.089), ("mobilenet_v2", 0.3008), ("shufflenet_v2", 0.1449)]
)
def test_published_totals(name, billions):
    count = count_macs(on_meta(name), torch.zeros(1, 3, 224, 224, device="meta"))
    assert count.total / 1e9 == pytest.approx(billions, rel=1e-3)
    assert count.nonzero == count.total and not count.uncounted


def test_a_vision_transformer_with_its_attention():
    if find_spec("timm") is None:
        pytest.skip("the vision extra is not installed")
    count = count_macs(on_meta("timm:vit_base_patch16_224"), torch.zeros(1, 3, 224, 224, device="meta"))
    tokens, width = 197, 768
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    assert count.total == 196 * 768 * width + 12 * block + width * 1000
    assert count.total / 1e9 == pytest.approx(17.56, rel=1e-3)
    assert not count.uncounted


class Attend(nn.Module):
    def forward(self, query, key, value):
        return functional.scaled_dot_product_attention(query, key, value)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bare_attention_by_hand(device):
    query, key, value = (torch.zeros(1, 2, n, d, device=device) for n, d in ((5, 8), (7, 8), (7, 6)))
    count = count_macs(Attend(), (query, key, value))
    assert layers(count) == {"": 2 * 5 * 7 * 8 + 2 * 5 * 7 * 6}
    assert not count.uncounted


@pytest.mark.parametrize("training", [True, False])
def test_multihead_attention_by_hand(training):
    attention = ones_(nn.MultiheadAttention(16, 4, batch_first=True)).train(training)
    x = torch.zeros(1, 5, 16)
    count = count_macs(attention, (x, x, x))
    assert layers(count) == {"": 3 * 5 * 16 * 16 + 2 * 5 * 5 * 16, "out_proj": 5 * 16 * 16}
    with torch.no_grad():
        attention.in_proj_weight[:16] = 0  # the query's projection
    count = count_macs(attention, (x, x, x))
    assert count.total - count.nonzero == 5 * 16 * 16


def test_a_part_of_a_weight_counts_its_own_zeros():
    attention = ones_(nn.MultiheadAttention(16, 4, batch_first=True)).eval()
    with torch.no_grad():
        attention.in_proj_weight[:16] = 0
    query, other = torch.zeros(1, 5, 16), torch.zeros(1, 9, 16)  # the weight is used in two pieces
    count = count_macs(attention, (query, other, other))
    assert count.total == (5 + 9 + 9) * 16 * 16 + 2 * 5 * 9 * 16 + 5 * 16 * 16
    assert count.total - count.nonzero == 5 * 16 * 16


def test_transformer_encoder_in_eval_mode_hides_nothing():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2).eval()
    count = count_macs(encoder, torch.zeros(1, 5, 16))
    assert count.total == 2 * (4 * 5 * 16 * 16 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 32)
    assert not count.uncounted


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_exact(kind, settings):
    layer = ones_(kind(5, 8, **settings))
    steps, batch = 7, 3
    weights = [p for p in layer.parameters() if p.ndim == 2]
    count = count_macs(layer, torch.zeros(steps, batch, 5))
    assert count.total == steps * batch * sum(weight.numel() for weight in weights)
    assert count.nonzero == count.total and not count.uncounted
    with torch.no_grad():
        layer.weight_hh_l0[:, :2] = 0
    count = count_macs(layer, torch.zeros(steps, batch, 5))
    assert count.total - count.nonzero == steps * batch * 2 * layer.weight_hh_l0.shape[0]


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(8, 12, 3, groups=4, padding=1), (1, 8, 10, 10), 10 * 10 * 12 * 2 * 9),
        (nn.Conv2d(8, 8, 5, groups=8), (1, 8, 10, 10), 6 * 6 * 8 * 25),
        (nn.Conv2d(3, 4, 3, stride=2, dilation=2), (1, 3, 11, 9), 4 * 3 * 4 * 3 * 9),
        (nn.Conv1d(3, 4, 3), (1, 3, 10), 8 * 4 * 3 * 3),
        (nn.Conv1d(3, 4, 3), (3, 10), 8 * 4 * 3 * 3),
        (nn.Conv3d(2, 4, 2), (1, 2, 4, 4, 4), 27 * 4 * 2 * 8),
        (nn.ConvTranspose2d(8, 4, 3, stride=2), (1, 8, 5, 5), 5 * 5 * 8 * 4 * 9),
        (nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2), (1, 8, 5, 5), 5 * 5 * 8 * 2 * 9),
        (nn.Linear(3, 4), (3,), 12),
        (nn.Linear(3, 4, bias=False), (2, 5, 3), 2 * 5 * 12),
        (nn.LSTMCell(3, 4), (1, 3), 4 * 4 * (3 + 4)),
    ],
)
def test_layers_by_hand(layer, shape, macs):
    ones_(layer)
    count = count_macs(layer, torch.zeros(shape))
    assert (count.total, count.nonzero, dict(count.uncounted)) == (macs, macs, {})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert count_macs(layer, torch.zeros(shape)).nonzero == 0


class Products(nn.Module):
    """Matrix times vector and dot product, with a parameter on either side."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
        self.vector = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x):
        return self.vector @ (self.matrix @ x)


def test_vectors_by_hand():
    count = count_macs(Products(), torch.ones(3))
    assert (count.total, count.nonzero) == (6 + 2, 2 + 1)


def test_a_masked_model_by_hand():
    model = ones_(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)))
    with torch.no_grad():
        model[0].weight[0] = 0
        model[3].weight[:, :6] = 0
    count = count_macs(model, torch.zeros(1, 1, 4, 4))
    assert [(x.name, x.macs, x.macs_nonzero, x.params, x.nnz) for x in count.layers] == [
        ("0", 4 * 18, 4 * 9, 20, 11),
        ("3", 32, 8, 36, 12),
    ]
    assert (count.total, count.nonzero) == (104, 44)


class Half(nn.Module):
    def forward(self, weight):
        return weight * (torch.arange(weight.shape[1]) % 2)


def test_masks_applied_on_the_way_count_as_zeros():
    layer = ones_(nn.Linear(10, 10))
    prune.random_unstructured(layer, "weight", 0.3)
    assert count_macs(layer, torch.zeros(1, 10)).nonzero == 70
    convolution = ones_(nn.Conv2d(4, 2, 1))
    mask = torch.zeros(2, 4, 1, 1)
    mask[0, 0] = 1
    prune.custom_from_mask(convolution, "weight", mask)
    assert count_macs(convolution, torch.zeros(1, 4, 3, 3)).nonzero == 9


def test_a_weight_of_unknown_making_counts_in_full():
    layer = ones_(nn.Linear(10, 10))
    parametrize.register_parametrization(layer, "weight", Half())  # arange is no parameter and no buffer
    assert count_macs(layer, torch.zeros(1, 10)).nonzero == 100


class Cache(nn.Module):
    """Writes an activation into a buffer of zeros, then multiplies by it."""

    def __init__(self):
        super().__init__()
        self.cache = nn.Buffer(torch.zeros(3, 3))

    def forward(self, x):
        self.cache.copy_(x)
        return x @ self.cache


def test_a_buffer_that_holds_an_activation_is_no_weight():
    assert count_macs(Cache(), torch.eye(3)).nonzero == 27


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.head.weight[tokens])


def test_tied_weights_and_repeated_layers_count_where_they_run():
    assert layers(count_macs(Tied(), torch.zeros(1, 7, dtype=torch.long))) == {"head": 7 * 15}
    layer = nn.Linear(3, 3)
    assert layers(count_macs(nn.Sequential(layer, layer), torch.zeros(1, 3))) == {"0": 18}


class Odd(nn.Module):
    def forward(self, x):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        return torch.fft.fft2(functional.interpolate(x, scale_factor=2, mode="nearest")).real


def test_what_has_no_rule_is_named():
    assert dict(count_macs(Odd(), torch.zeros(1, 3, 4, 4)).uncounted) == {
        "aten.upsample_bilinear2d": 1,
        "aten._fft_c2c": 1,
    }
    assert dict(count_macs(nn.Bilinear(3, 4, 5), (torch.zeros(1, 3), torch.zeros(1, 4))).uncounted) == {
        "aten._trilinear": 1
    }


def test_every_small_timm_model_is_covered():
    if find_spec("timm") is None:
        pytest.skip("the vision extra is not installed")
    for name in ("test_byobnet", "test_convnext", "test_efficientnet_gn", "test_maxvit", "test_nfnet", "test_vit2"):
        count = count_macs(on_meta(f"timm:{name}"), torch.zeros(1, 3, 160, 160, device="meta"))
        assert count.total > 0 and not count.uncounted, name


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_and_inference_mode_models_are_counted():
    plain = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    traced = torch.jit.trace(plain, torch.zeros(1, 8))
    assert layers(count_macs(traced, torch.zeros(1, 8))) == {"0": 32, "2": 8}
    with torch.inference_mode():
        assert count_macs(plain, torch.zeros(1, 8)).total == 40


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    random = torch.get_rng_state()
    count_macs(model, torch.randn(2, 3, 8, 8, generator=torch.Generator()))
    assert [module.training for module in model.modules()] == flags
    assert torch.backends.mha.get_fastpath_enabled() == fast and torch.is_grad_enabled()
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_a_wrong_shape_is_one_sentence_and_leaves_the_model_as_before():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    with pytest.raises(ModelError, match=r"^Sequential: does not run on an input of \(1, 9\) \(RuntimeError: ") as e:
        count_macs(model, torch.zeros(1, 9))
    assert "\n" not in str(e.value)
    assert model.training and torch.backends.mha.get_fastpath_enabled()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_every_operand_table_entry_has_a_formula():
    assert all(formula(packet) is not None for packet in OPERANDS)


def test_agrees_with_a_plain_count_by_hooks_on_resnet20():
    model = build("resnet20").eval()
    plain = 0

    def add(module, _inputs, output):
        nonlocal plain
        plain += module.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    count = count_macs(model, torch.zeros(1, 3, 32, 32))
    assert count.total == plain
