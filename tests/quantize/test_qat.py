import copy
from dataclasses import replace

import pytest
import torch
from tiny import conv_net, mlp, new_run, seeded, small_task
from torch import nn

from prunelle.errors import DivergedError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.params import prunable
from prunelle.quantize.activations import simulated
from prunelle.quantize.grid import symmetric
from prunelle.quantize.ptq import QuantizeWeights
from prunelle.quantize.qat import QuantizationAwareTraining
from prunelle.quantize.scales import by_error, by_largest, scale_of
from prunelle.quantize.straight_through import round_weight_
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.settings import Teacher, TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=2, lr=0.05, batch_size=16, optimizer=Sgd(0.9, 1e-2))


def test_a_rounded_layer_by_hand():
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[7.0, 0.4, 0.0]]))
    round_weight_(layer, 4, 0, by_largest)
    found = layer(torch.tensor([[1.0, 1.0, 1.0]]))
    assert found.item() == 7.0
    found.backward()
    master = layer.parametrizations.weight.original
    assert master.grad.tolist() == [[1.0, 1.0, 0.0]]  # what is 0 gets none
    assert master.tolist() == [[7.0, pytest.approx(0.4), 0.0]]


@pytest.mark.parametrize("rule", [by_largest, by_error])
def test_the_weights_are_on_their_grids_and_the_module_is_the_user_s_own(rule, tmp_path):
    net = conv_net()
    made = QuantizationAwareTraining(3, SETTINGS, rule=rule)(net, small_task(augmented=True), new_run(tmp_path))
    assert [type(module) for module in made.modules()] == [type(module) for module in net.modules()]
    assert list(made.state_dict()) == list(net.state_dict()) and simulated(made) == ()
    for name, weight in prunable(made).items():
        assert not torch.equal(weight, prunable(net)[name])
        assert all(len(row.unique()) <= 7 for row in weight)
        if rule is by_largest:
            torch.testing.assert_close(symmetric(weight, scale_of(weight, 3), 3), weight, rtol=1e-6, atol=0)
    assert made[1].num_batches_tracked == 6 and not torch.equal(made[1].running_mean, net[1].running_mean)


def test_what_val_saw_while_training_is_what_comes_out(tmp_path):
    task, run = small_task(), new_run(tmp_path)
    made = QuantizationAwareTraining(2, SETTINGS)(conv_net(), task, run)
    found = evaluate(made, task.val, task.loss, task.metric)
    assert found.loss == pytest.approx(run.rows()[-1]["val_loss"], rel=1e-5)


def test_averaged_weights_are_rounded_after_they_are_averaged(tmp_path):
    task, run = small_task(), new_run(tmp_path)
    made = QuantizationAwareTraining(3, replace(SETTINGS, average_epochs=1.0))(conv_net(), task, run)
    assert all(len(row.unique()) <= 7 for weight in prunable(made).values() for row in weight)
    assert evaluate(made, task.val, task.loss, task.metric).loss == pytest.approx(run.rows()[-1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize("optimizer", [Sgd(0.9, 1e-2), Adam(weight_decay=1e-2), Adam(decoupled=True, weight_decay=0.1)])
def test_zeros_stay_zeros(optimizer, tmp_path):
    net = conv_net()
    with torch.no_grad():
        for weight in prunable(net).values():
            weight[torch.rand_like(weight) < 0.6] = 0.0
    settings = TrainSettings(epochs=2, lr=0.02, batch_size=16, optimizer=optimizer)
    made = QuantizationAwareTraining(8, settings)(net, small_task(), new_run(tmp_path))
    for name, weight in prunable(made).items():
        assert (weight[prunable(net)[name] == 0] == 0).all()
        assert weight.count_nonzero() > 0.8 * prunable(net)[name].count_nonzero()


def test_training_with_two_bits_beats_rounding_afterwards(tmp_path):
    task, dense = small_task(num=192), mlp()
    settings = TrainSettings(epochs=6, lr=0.05, batch_size=16)
    from prunelle.train.stage import Train

    dense = Train(settings)(dense, task, new_run(tmp_path, dense=1))
    rounded = QuantizeWeights(2)(dense, task, new_run(tmp_path))
    taught = TrainSettings(epochs=6, lr=0.02, batch_size=16, teacher=Teacher(dense, 2.0, 0.5))
    learnt = QuantizationAwareTraining(2, taught)(dense, task, new_run(tmp_path))
    before, after = (evaluate(net, task.train, task.loss, task.metric).loss for net in (rounded, learnt))
    assert after < 0.9 * before


def test_activations_are_rounded_too_where_asked(tmp_path):
    net = conv_net()
    made = QuantizationAwareTraining(8, SETTINGS, bits_activations=4)(net, small_task(), new_run(tmp_path))
    assert simulated(made) == ("0", "3", "8") and simulated(net) == ()
    seen = []
    made[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    made(next(small_task().test.epoch(24))[0])
    assert len(seen[0].unique()) <= 16


def test_a_weight_that_an_embedding_shares_is_rounded(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(72, 3)
            self.table = nn.Embedding(3, 72)
            self.table.weight = self.head.weight

        def forward(self, images):
            return self.head(images.flatten(1)) + 0 * self.table.weight.sum()

    made = QuantizationAwareTraining(2, SETTINGS)(seeded(Tied), small_task(), new_run(tmp_path))
    assert made.table.weight is made.head.weight
    assert all(len(row.unique()) <= 3 for row in made.head.weight)


def test_where_it_diverges_a_plain_module_is_left(tmp_path):
    settings = TrainSettings(epochs=2, lr=99.0, batch_size=16)
    net = mlp()
    with pytest.raises(DivergedError) as caught:
        QuantizationAwareTraining(4, settings)(copy.deepcopy(net), small_task(), new_run(tmp_path))
    left = caught.value.last_good
    assert list(left.state_dict()) == list(net.state_dict())
    assert all(len(row.unique()) <= 15 for row in left[1].weight)


def test_other_bits_are_refused():
    with pytest.raises(SettingError, match="qat: bits is 1, must be 2 to 8"):
        QuantizationAwareTraining(1, SETTINGS)
    with pytest.raises(SettingError, match="qat: bits is 16, must be 2 to 8"):
        QuantizationAwareTraining(8, SETTINGS, bits_activations=16)
