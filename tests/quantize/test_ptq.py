import pytest
import torch
from tiny import SHAPE, conv_net, mlp, new_run, same_bits, small_task, state_of
from torch import nn

from prunelle.errors import SettingError
from prunelle.measure.card import count
from prunelle.measure.params import prunable
from prunelle.quantize.activations import RoundInput, calibrate, simulated
from prunelle.quantize.observers import MinMax, Percentile
from prunelle.quantize.ptq import Dynamic, PostTrainingStatic, QuantizeWeights
from prunelle.quantize.scales import by_error

pytestmark = pytest.mark.usefixtures("one_thread")


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def test_weights_by_hand(tmp_path):
    net = linear([[0.7, 0.24, -0.26, 0.0], [7.0, 3.4, -7.0, 1.0]])
    made = QuantizeWeights(4)(net, small_task(), new_run(tmp_path))
    torch.testing.assert_close(made.weight.data, torch.tensor([[0.7, 0.2, -0.3, 0.0], [7.0, 3.0, -7.0, 1.0]]))
    whole = QuantizeWeights(4, per_channel=False)(net, small_task(), new_run(tmp_path))
    assert whole.weight.tolist() == [[1.0, 0.0, 0.0, 0.0], [7.0, 3.0, -7.0, 1.0]]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_zeros_stay_zeros_and_few_values_are_left(bits, per_channel, tmp_path):
    net = conv_net()
    with torch.no_grad():
        for weight in prunable(net).values():
            weight[torch.rand_like(weight) < 0.5] = 0.0
            weight.flatten()[1:2] = -0.0
    before = {name: weight.detach().clone() for name, weight in prunable(net).items()}
    made = QuantizeWeights(bits, per_channel, by_error)(net, small_task(), new_run(tmp_path))
    for name, weight in prunable(made).items():
        assert (weight[before[name] == 0] == 0).all() and not torch.signbit(weight[weight == 0]).any()
        parts = weight if per_channel else [weight]
        assert all(len(part.unique()) <= 2**bits - 1 for part in parts)
    left = {name: tensor for name, tensor in state_of(net).items() if name not in before}
    assert same_bits({name: tensor for name, tensor in state_of(made).items() if name not in before}, left)


def test_rounding_again_changes_nothing(tmp_path):
    once = QuantizeWeights(4)(conv_net(), small_task(), new_run(tmp_path))
    again = QuantizeWeights(4)(once, small_task(), new_run(tmp_path))
    for name, weight in prunable(again).items():
        torch.testing.assert_close(weight, prunable(once)[name], rtol=1e-6, atol=0)


def test_ranges_are_those_that_the_layers_read_and_flags_stay():
    net = nn.Sequential(linear([[2.0, 0.0]]), nn.ReLU(), linear([[1.0]])).train()
    batches = [torch.tensor([[3.0, -1.0], [-5.0, 0.0]]), torch.tensor([[0.5, 4.0]])]
    found = calibrate(net, batches, MinMax(), 8)
    assert found == {"0": RoundInput(8, -5.0, 4.0), "2": RoundInput(8, 0.0, 6.0)}
    assert net.training and not any(module._forward_pre_hooks for module in net.modules())


def test_a_rounded_input_by_hand():
    net = linear([[1.0]])
    net.register_forward_pre_hook(RoundInput(2, 0.0, 3.0))
    values = torch.tensor([[-1.0], [0.4], [1.6], [9.0]], requires_grad=True)
    found = net(values)
    assert found.flatten().tolist() == [0.0, 0.0, 2.0, 3.0]
    found.sum().backward()
    assert values.grad.flatten().tolist() == [0.0, 1.0, 1.0, 0.0]  # straight through, inside the range


def test_dynamic_takes_the_range_of_each_call():
    net = linear([[1.0]])
    net.register_forward_pre_hook(RoundInput(2))
    for scale in (1.0, 10.0):
        found = net(scale * torch.tensor([[0.0], [0.4], [1.6], [3.0]]))
        assert found.flatten().tolist() == [0.0, 0.0, 2.0 * scale, 3.0 * scale]


@pytest.mark.parametrize(
    "step", [PostTrainingStatic(), PostTrainingStatic(observer=Percentile(99.9)), Dynamic()], ids=lambda step: step.name
)
def test_eight_bits_change_little_and_say_that_they_are_simulated(step, tmp_path):
    net, task = mlp().eval(), small_task()
    made = step(net, task, new_run(tmp_path))
    images, _ = next(task.train.epoch(48))
    with torch.no_grad():
        wanted, found = net(images), made(images)
    assert 0 < float((found - wanted).abs().max()) < 0.1 * float(wanted.abs().max())
    assert simulated(made) == ("1", "3") and simulated(net) == ()
    assert "simulated" in step.name
    assert count("mlp", made, SHAPE).model == "mlp (simulated: 8-bit activations)"
    assert count("mlp", net, SHAPE).model == "mlp"


def test_images_are_drawn_by_the_seed(tmp_path):
    task = small_task(num=1000)
    hooks = [
        PostTrainingStatic(num_images=64)(mlp(), task, new_run(tmp_path, seed))[3]._forward_pre_hooks
        for seed in (0, 0, 1)
    ]
    ranges = [next(iter(hook.values())) for hook in hooks]
    assert ranges[0] == ranges[1] != ranges[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantizeWeights(9), "quantize: bits is 9, must be 2 to 8"),
        (lambda: Dynamic(bits_activations=1), "dynamic_simulated: bits is 1, must be 2 to 8"),
        (lambda: PostTrainingStatic(num_images=0), "static_simulated: num_images is 0, must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()
