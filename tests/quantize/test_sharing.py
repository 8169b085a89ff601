import pytest
import torch
from tiny import conv_net, new_run, same_bits, small_task, state_of
from torch import nn

from prunelle.errors import SettingError
from prunelle.measure.params import prunable
from prunelle.prune.weights import PruneWeights
from prunelle.quantize.halves import RoundToHalf
from prunelle.quantize.sharing import SharedValues, ShareWeights, first_of, k_means, round_to_half_
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_k_means_starts_evenly_between_the_extremes():
    """From 0, 5 and 10: 0 and 1 are nearest to 0, 4 to 5, 9 and 10 to 10; the means move nothing."""
    values, own = k_means(torch.tensor([9.0, 0.0, 4.0, 1.0, 10.0]), 3)
    assert values.tolist() == [0.5, 4.0, 9.5] and own.tolist() == [2, 0, 1, 0, 2]


def test_a_value_without_members_stays_where_it_is():
    values, own = k_means(torch.tensor([0.0, 0.1, 0.2, 9.8, 9.9, 10.0]), 4)
    torch.testing.assert_close(values, torch.tensor([0.1, 10 / 3, 20 / 3, 9.9]))
    assert own.tolist() == [0, 0, 0, 3, 3, 3]


def test_no_more_numbers_than_values_keep_themselves():
    values, own = k_means(torch.tensor([0.3, -0.7, 0.3]), 4)
    assert torch.equal(values[own], torch.tensor([0.3, -0.7, 0.3]))
    assert k_means(torch.empty(0), 4)[1].tolist() == []


def test_k_means_agrees_with_the_slow_way():
    numbers = torch.randn(500, generator=torch.Generator().manual_seed(0))
    values = torch.linspace(float(numbers.min()), float(numbers.max()), 7)
    for _ in range(300):
        own = (numbers[:, None] - values).abs().argmin(1)
        values = torch.stack([numbers[own == k].mean() if (own == k).any() else values[k] for k in range(7)])
    found, codes = k_means(numbers, 7)
    torch.testing.assert_close(found, values)
    assert torch.equal(codes, own)


def test_weights_take_few_values_that_half_precision_holds_and_zeros_stay(tmp_path):
    model = PruneWeights(0.6)(conv_net(), small_task(), new_run(tmp_path))
    shared = ShareWeights(3)(model, small_task(), new_run(tmp_path))
    for name, weight in prunable(shared).items():
        before = prunable(model)[name]
        assert torch.equal(weight == 0, before == 0)
        values = weight[weight != 0].unique()
        assert 1 < len(values) <= 3 and torch.equal(values.half().float(), values)
        assert not torch.equal(weight, before)
    others = {name for name in state_of(model) if name not in prunable(model)}
    assert all(torch.equal(state_of(shared)[name], state_of(model)[name]) for name in others)


def test_as_many_values_as_weights_change_nothing(tmp_path):
    model = RoundToHalf(weights=True)(conv_net(), small_task(), new_run(tmp_path))
    assert same_bits(state_of(ShareWeights(256)(model, small_task(), new_run(tmp_path))), state_of(model))


@pytest.mark.parametrize("optimizer", [Sgd(0.9, 1e-4), Adam()])
def test_values_are_trained_on_and_stay_shared(optimizer, tmp_path):
    task, settings = small_task(), TrainSettings(2, 1e-3, batch_size=16, optimizer=optimizer)
    model = PruneWeights(0.5)(conv_net(), task, new_run(tmp_path))
    still, moved = (ShareWeights(4, one, biases=2)(model, task, new_run(tmp_path)) for one in (None, settings))
    for name, weight in prunable(moved).items():
        before = prunable(still)[name]
        assert torch.equal(weight == 0, before == 0) and not torch.equal(weight, before)
        # Members of one value before are members of one value after.
        pairs = torch.stack([before.flatten(), weight.flatten()]).unique(dim=1)
        assert pairs.shape[1] == len(before.unique())
    assert all(len(moved[i].bias.unique()) <= 2 for i in (3, 8)) and len(moved[1].bias.unique()) > 2


def test_the_gradient_of_a_value_is_the_sum_over_its_members():
    """Outputs w0 * 1 + w1 * 2 + w2 * 4 + w3 * 8; w0 and w2 share a value, w3 is zero."""
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.5, -1.0, 0.5, 0.0]])
    shared = SharedValues({"weight": (layer.weight, 2)})
    shared.start_(0, {})
    (gradient,) = torch.autograd.grad(layer(torch.tensor([[1.0, 2.0, 4.0, 8.0]])).sum(), [layer.weight])
    assert gradient.tolist() == [[5.0, 2.0, 5.0, 0.0]]
    shared.release()
    (gradient,) = torch.autograd.grad(layer(torch.tensor([[1.0, 2.0, 4.0, 8.0]])).sum(), [layer.weight])
    assert gradient.tolist() == [[1.0, 2.0, 4.0, 8.0]]


def test_members_take_the_value_of_their_first():
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.5, -1.0, 0.5, 0.0]])
    shared = SharedValues({"weight": (layer.weight, 2)})
    shared.start_(0, {})
    layer.weight.data = torch.tensor([[0.25, -2.0, 0.26, 0.1]])
    shared.after_update_(1)
    assert layer.weight.tolist() == [[0.25, -2.0, 0.25, 0.0]]


def test_first_members():
    assert first_of(torch.tensor([2, 0, 2, 0]), 3).tolist() == [1, 0, 0]
    assert first_of(torch.empty(0, dtype=torch.int64), 3).tolist() == []


def test_rounding_to_half_keeps_zeros_signs_and_what_is_too_large():
    tensor = torch.tensor([0.0, 1 / 3, 1e-9, -1e-9, 1e6, -0.0])
    round_to_half_([tensor])
    assert tensor.tolist() == [0.0, 0.333251953125, 2.0**-24, -(2.0**-24), 1e6, 0.0]


def test_half_rounds_what_is_no_weight(tmp_path):
    model = conv_net()
    model[1].running_mean += 1 / 3
    half = RoundToHalf()(model, small_task(), new_run(tmp_path))
    assert float(half[1].running_mean[0]) == 0.333251953125 and half[1].running_mean.dtype == torch.float32
    assert all(torch.equal(w, prunable(model)[name]) for name, w in prunable(half).items())
    assert torch.equal(half[8].bias, model[8].bias.half().float())


@pytest.mark.parametrize("settings", [{"num_values": 0}, {"num_values": 257}, {"biases": 0}])
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError, match="must be 1 to 256; to share nothing, leave it out"):
        ShareWeights(**settings)
