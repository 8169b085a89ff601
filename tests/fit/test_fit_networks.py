from dataclasses import replace

import pytest
import torch
from tiny import CLASSES, SHAPE, conv_net, mlp, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.fit.candidates import BLOCKS, CHANNELS, ZEROS, Cut
from prunelle.fit.networks import NETWORK, Brought, Networks, settings_for
from prunelle.graph.cuts import Cuts
from prunelle.measure.macs import count_macs
from prunelle.measure.params import prunable
from prunelle.models.save import MANIFEST, WEIGHTS, Builder
from prunelle.train.optimizers import Adam, Sgd

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = torch.ones(1, *SHAPE)
LENET = Builder(spec="lenet_300_100", input_shape=list(SHAPE), num_classes=CLASSES)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.shortcut = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Identity()

    def forward(self, x):
        return self.shortcut(x) + self.norm(self.conv(x)).relu()


def residual_net() -> nn.Module:
    """A stem of 36 x 9 x 2 x 8 multiply-adds, two blocks of 36 x 9 x 8 x 8, a linear layer of 24."""
    layers = (nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Residual(), Residual())
    return seeded(lambda: nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)))


def brought(model: nn.Module, builder: Builder | None = None) -> Brought:
    return Brought(model.eval(), builder, Cuts(), "0" * 64)


def networks(tmp_path, of: Brought, seed: int = 0) -> Networks:
    task = small_task()
    return Networks(of, task, tmp_path, replace(settings_for(of.model, task), batch_size=16), seed)


def macs(model: nn.Module) -> int:
    return count_macs(model, IMAGE).total


def zero_share(model: nn.Module) -> float:
    weights = list(prunable(model).values())
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def test_the_dense_network_is_the_user_s_own_and_nothing_is_written(tmp_path):
    own = brought(mlp())
    assert networks(tmp_path, own).make((), ()) is own
    assert list(tmp_path.iterdir()) == []


def test_zeros_in_one_shot_take_the_smallest_weights_and_leave_the_rest(tmp_path):
    """72 x 10 and 10 x 3 weights: half of 750 are 375."""
    own = brought(mlp())
    before = state_of(own.model)
    found = networks(tmp_path, own).make((Cut(ZEROS, 0.5),), ())
    assert sum(int((w == 0).sum()) for w in prunable(found.model).values()) == 375
    dense = torch.cat([w.flatten() for w in prunable(own.model).values()])
    kept = torch.cat([w.flatten() for w in prunable(found.model).values()])
    assert torch.equal(kept, torch.where(dense.abs() > dense.abs().sort().values[374], dense, 0.0))
    assert same_bits(before, state_of(own.model)) and found.cuts == Cuts()


def test_zeros_by_cost_are_others(tmp_path):
    made = networks(tmp_path, brought(conv_net()))
    plain, cost = (made.make((Cut(ZEROS, 0.5, scope),), ()) for scope in ("global", "cost"))
    shares = [[float((w == 0).float().mean()) for w in prunable(one.model).values()] for one in (plain, cost)]
    assert shares[0] != shares[1]
    assert zero_share(plain.model) == pytest.approx(zero_share(cost.model), abs=0.02) == pytest.approx(0.5, abs=0.02)


def test_batch_norm_is_estimated_anew_after_zeros(tmp_path):
    own = brought(conv_net())
    found = networks(tmp_path, own).make((Cut(ZEROS, 0.5),), ())
    assert not torch.equal(found.model[1].running_mean, own.model[1].running_mean)
    assert torch.equal(found.model[1].weight, own.model[1].weight)


@pytest.mark.parametrize("kind", [CHANNELS, BLOCKS])
def test_channels_and_blocks_take_multiply_adds(tmp_path, kind):
    own = brought(residual_net())
    assert macs(own.model) == 36 * 9 * (2 * 8 + 2 * 8 * 8) + 24
    found = networks(tmp_path, own).make((Cut(kind, 0.3),), ())
    assert 0.3 <= 1 - macs(found.model) / macs(own.model) < 0.6
    assert found.cuts != Cuts() and found.builder is None
    assert found.model(IMAGE).isfinite().all()
    assert macs(own.model) == 36 * 9 * (2 * 8 + 2 * 8 * 8) + 24


def test_cuts_one_after_another_take_both(tmp_path):
    made = networks(tmp_path, brought(residual_net()))
    both = made.make((Cut(BLOCKS, 0.3), Cut(CHANNELS, 0.3), Cut(ZEROS, 0.8)), ())
    one = made.make((Cut(BLOCKS, 0.3),), ())
    assert macs(both.model) < macs(one.model)
    assert zero_share(both.model) == pytest.approx(0.8, abs=0.02)


CHAINS = {
    "zeros": (Cut(ZEROS, 0.8),),
    "channels": (Cut(CHANNELS, 0.3),),
    "blocks": (Cut(BLOCKS, 0.3),),
    "channels, zeros": (Cut(CHANNELS, 0.3), Cut(ZEROS, 0.8)),
}


@pytest.mark.parametrize("cuts", CHAINS.values(), ids=CHAINS)
def test_a_chain_of_trainings_keeps_cuts_and_zeros(tmp_path, cuts):
    made = networks(tmp_path, brought(residual_net()))
    shot, first, second = (made.make(cuts, epochs) for epochs in ((), (1,), (1, 2)))
    assert macs(shot.model) == macs(first.model) == macs(second.model)
    states = [state_of(one.model) for one in (shot, first, second)]
    assert not same_bits(states[0], states[1]) and not same_bits(states[1], states[2])
    if cuts[-1].kind == ZEROS:
        assert zero_share(first.model) == zero_share(second.model) == pytest.approx(0.8, abs=0.02)
        for name, weight in prunable(first.model).items():  # the second training holds the zeros of the first
            assert torch.equal(weight == 0, prunable(second.model)[name] == 0)


def test_a_network_whose_saving_was_killed_is_made_again(tmp_path):
    """Killed before the first rename: the weights and what describes them lie under their `.next` names."""
    made = networks(tmp_path, brought(mlp()))
    first = state_of(made.make((Cut(ZEROS, 0.5),), ()).model)
    folder = made.run((Cut(ZEROS, 0.5),), ()).folder / NETWORK
    for name in (WEIGHTS, MANIFEST):
        (folder / name).rename(folder / f"{name}.next")
    assert same_bits(first, state_of(made.make((Cut(ZEROS, 0.5),), ()).model))


def test_training_helps(tmp_path):
    """90 % zeros of a random network guess; after some epochs all 24 images are told apart."""
    own = brought(mlp())
    made = networks(tmp_path, own)
    task = small_task()
    images, labels = next(task.val.epoch(24))
    longer = replace(made.training, lr=0.01, teacher=None)
    found = replace(made, training=longer).make((Cut(ZEROS, 0.5),), (16,))
    assert (found.model(images).argmax(1) == labels).float().mean() == 1
    assert not own.model.training and (own.model(images).argmax(1) == labels).float().mean() < 0.9


@pytest.mark.parametrize("make", [residual_net, "builder"], ids=["own module", "builder"])
@pytest.mark.parametrize("epochs", [(), (1,), (1, 1)])
def test_what_stands_is_opened_bit_for_bit_and_what_was_lost_is_made_again(tmp_path, make, epochs):
    own = brought(LENET.make(), LENET) if make == "builder" else brought(make())
    cuts = (Cut(CHANNELS, 0.3), Cut(ZEROS, 0.5))
    first = networks(tmp_path / "one", own).make(cuts, epochs)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("network/*")}
    again = networks(tmp_path / "one", own).make(cuts, epochs)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("network/*")}
    other = networks(tmp_path / "two", own).make(cuts, epochs)
    assert same_bits(state_of(first.model), state_of(again.model))
    assert same_bits(state_of(first.model), state_of(other.model))
    assert first.cuts == again.cuts == other.cuts != Cuts()
    assert not list(tmp_path.rglob("*.checkpoint"))


def test_another_seed_trains_another_network(tmp_path):
    own, cuts = brought(conv_net()), (Cut(ZEROS, 0.5),)
    first, second = (networks(tmp_path, own, seed).make(cuts, (1,)) for seed in (0, 1))
    assert not same_bits(state_of(first.model), state_of(second.model))


def test_shared_values_and_few_bits_leave_zeros_and_the_rest_of_the_network(tmp_path):
    made = networks(tmp_path, brought(mlp()))
    network = made.make((Cut(ZEROS, 0.5),), ())
    before = state_of(network.model)
    assert made.finished(network, None, None) is network
    for how, most in (((16, None), 16), ((4, None), 4), ((None, 4), 15)):
        found = made.finished(network, *how).model
        for name, weight in prunable(found).items():
            for values in weight if how[1] else [weight]:  # each row of few bits has a scale of its own
                assert len(values[values != 0].unique()) <= most
            assert len(weight.unique()) > 4
            assert torch.equal(weight == 0, prunable(network.model)[name] == 0) or how[1]
        assert torch.equal(found[1].bias, network.model[1].bias.half().float())
    assert same_bits(before, state_of(network.model))


def test_how_networks_are_trained_follows_their_norms_and_their_loss():
    task = small_task()
    normed, plain = settings_for(conv_net(), task), settings_for(mlp(), task)
    assert isinstance(normed.optimizer, Sgd) and isinstance(plain.optimizer, Adam)
    assert (normed.lr, plain.lr) == (0.05, 1e-3)
    assert normed.teacher is not None and plain.teacher is not None
    own = replace(task, loss=lambda outputs, targets: (outputs[:, 0] - targets).square().mean())
    assert settings_for(mlp(), own).teacher is None
