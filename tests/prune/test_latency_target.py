"""prune/latency_target.py, cut_path.py and latency_steps.py: the search, on a machine whose times are known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import conv_net, new_run, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.errors import MeasurementError, SettingError
from prunelle.graph.costs import macs
from prunelle.graph.sets import analyse
from prunelle.graph.trace import trace
from prunelle.measure.latency import Timing
from prunelle.models.load import build
from prunelle.prune import latency_steps, latency_target
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import Limits, over_all_sets, per_layer, per_set
from prunelle.prune.cut_path import GAP, CutPath, cut_path
from prunelle.prune.latency_steps import PruneToLatency
from prunelle.prune.latency_target import Clock, Target, plan_latency
from prunelle.prune.unit_scores import unit_scores
from prunelle.ship.eager import eager

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.ones(4, 2, 6, 6)


def wide_net():
    def make():
        layers = [nn.Conv2d(2, 32, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))

    return seeded(make)


def cost(model, block=1):
    """Milliseconds on a machine that pads widths to a multiple of `block`; a fixed part of 10 % of the dense net's."""
    total = 0.0
    for module in model:
        if isinstance(module, nn.Conv2d):
            ins, outs = (-(-width // block) * block for width in (module.in_channels, module.out_channels))
            total += ins * outs / 3200
    return total + 0.1


@pytest.fixture(scope="module")
def resnet():
    model = seeded(lambda: build("resnet20"))
    return model, analyse(model, trace(model, torch.ones(1, 3, 32, 32)))


class Machine:
    """Times by `cost`, in place of a runtime and the timer. Final."""

    def __init__(self, monkeypatch, block=1, noise=0.0):
        self.block, self.races, self.noise = block, [], np.random.default_rng(0).normal
        self.spread = noise
        monkeypatch.setattr(latency_target, "time_interleaved", self.race)

    def runtime(self, model, example, threads):
        assert len(example) == 4 and threads == 1
        ms = cost(model, self.block)

        def run(images):
            return ms

        return run

    def race(self, runs, *, device, threads, min_seconds):
        times = [run() * float(np.exp(self.noise(0, self.spread))) for run in runs]
        self.races.append((len(runs), min_seconds))
        return tuple(
            Timing(ms, ms, ms, times[0] / ms, times[0] / ms * 0.99, times[0] / ms * 1.01, 30, 1) for ms in times
        )

    def clock(self):
        return Clock(self.runtime, IMAGES)


@pytest.mark.parametrize(("ratio", "scope"), [(0.2, per_set), (0.4, per_layer), (0.6, over_all_sets), (0.9, per_set)])
def test_a_ratio_is_met(monkeypatch, ratio, scope):
    model, machine = wide_net(), Machine(monkeypatch)
    before = state_of(model)
    found = plan_latency(model, Target(ratio=ratio), machine.clock(), multiples=(1,), scope=scope)
    pruned = found.plan.apply(model)
    assert 0.9 * ratio <= cost(pruned) / cost(model) <= ratio
    assert same_bits(state_of(model), before) and pruned(IMAGES).shape == (4, 3)
    last = found.looks[-1]
    assert last.final and last.ratio == pytest.approx(cost(pruned) / cost(model)) and 0.9 <= last.used <= 1
    assert last.macs == pytest.approx(
        macs(found.plan.tied, found.plan.removed) / macs(found.plan.tied, found.plan.removed & False)
    )
    assert machine.races[-1] == (2, 5.0) and all(seconds == 1.0 for _, seconds in machine.races[:-1])


def test_milliseconds_are_met(monkeypatch):
    model, machine = wide_net(), Machine(monkeypatch)
    found = plan_latency(model, Target(ms=0.5 * cost(model)), machine.clock(), multiples=(1,))
    assert 0.45 * cost(model) <= cost(found.plan.apply(model)) <= 0.5 * cost(model)


def test_noise_is_lived_with(monkeypatch):
    model, machine = wide_net(), Machine(monkeypatch, noise=0.01)
    found = plan_latency(model, Target(ratio=0.6), machine.clock(), multiples=(1,))
    assert 0.52 <= cost(found.plan.apply(model)) / cost(model) <= 0.62


@pytest.mark.parametrize("block", [8, 16])
def test_widths_keep_to_what_the_machine_pads_to(monkeypatch, block):
    model, machine = wide_net(), Machine(monkeypatch, block)
    found = plan_latency(model, Target(ratio=0.6, slack=0.2), machine.clock(), multiples=(1, 8, 16))
    assert {look.multiple for look in found.looks[:3]} == {1, 8, 16} and machine.races[0] == (4, 1.0)
    assert found.looks[-1].multiple == block
    widths = [module.out_channels for module in found.plan.apply(model) if isinstance(module, nn.Conv2d)]
    assert all(width % block == 0 for width in widths)


def test_a_net_that_is_fast_enough_stays_whole(monkeypatch):
    model, machine = wide_net(), Machine(monkeypatch)
    found = plan_latency(model, Target(ms=10.0), machine.clock())
    assert not found.plan.cuts.tensors and found.looks == ()
    assert same_bits(state_of(found.plan.apply(model)), state_of(model))


def test_where_nothing_meets_the_target_the_nearest_is_told(monkeypatch):
    model, machine = wide_net(), Machine(monkeypatch)
    with pytest.raises(MeasurementError, match=r"no cut took between 0.90 and 1 .*the nearest took [\d.]+ of it \("):
        plan_latency(model, Target(ratio=0.05), machine.clock(), multiples=(1, 8))
    with pytest.raises(MeasurementError, match="no cut of these multiples is smaller than the network; give smaller"):
        plan_latency(model, Target(ratio=0.5), machine.clock(), multiples=(64,))


def test_targets_are_checked():
    for settings, text in (
        ({}, "ratio is None and ms is None; give one of them, the other None"),
        ({"ratio": 0.5, "ms": 1.0}, r"ratio is 0\.5 and ms is 1\.0; give one"),
        ({"ratio": 1.0}, r"ratio is 1\.0, must lie between 0 and 1: cut time over dense time"),
        ({"ms": 0.0}, r"ms is 0\.0, must be above 0"),
        ({"ms": 1.0, "slack": 0.0}, r"slack is 0\.0, must lie between 0 and 1"),
    ):
        with pytest.raises(SettingError, match=f"latency: {text}"):
            Target(**settings)
    with pytest.raises(SettingError, match="multiples is empty"):
        plan_latency(wide_net(), Target(ratio=0.5), Clock(eager, IMAGES), multiples=())


@pytest.mark.parametrize("multiple", [1, 8, 16])
@pytest.mark.parametrize("scope", [per_set, over_all_sets])
def test_a_path_leaves_no_gaps_and_keeps_to_multiples(resnet, scope, multiple):
    """Of a network with one wide trunk, which at a multiple of 16 moves in three steps."""
    model, tied = resnet
    path = cut_path(tied, unit_scores(model, tied, l2_norm), scope, Limits(1, multiple))
    assert path.shares[0] == 1 and not path.cuts[0].any()
    for cut, share in zip(path.cuts, path.shares, strict=True):
        assert share == pytest.approx(macs(tied, cut) / macs(tied, path.cuts[0]))
        kept = [int((~cut[tied.components.units(p.labels)]).sum()) for one in tied.sets for p in one.producers]
        assert all(width > 0 and width % multiple == 0 for width in kept)
    largest = max(above - below for below, above in pairwise(sorted(path.shares)))
    assert largest < {1: 2 * GAP, 8: 0.1, 16: 0.1}[multiple]


def test_between_takes_the_nearest_of_what_lies_strictly_inside():
    cuts = tuple(np.array([number]) for number in range(4))
    path = CutPath(cuts, (1.0, 0.7, 0.5, 0.2))
    assert path.between(0.55, 0.0, 1.0) is cuts[2] and path.between(0.65, 0.0, 1.0) is cuts[1]
    assert path.between(0.2, 0.2, 0.7) is cuts[2] and path.between(0.9, 0.0, 0.7) is cuts[2]
    assert path.between(0.6, 0.5, 0.7) is None


def test_the_step_keeps_what_it_chose(tmp_path, monkeypatch):
    model, task, machine = wide_net(), small_task(), Machine(monkeypatch)
    step = PruneToLatency(Target(ratio=0.5), machine.runtime, batch_size=4, multiples=(1,))
    run = new_run(tmp_path)
    found = step.cut(model, task, run)
    assert 0.45 <= cost(found.model) / cost(model) <= 0.5 and found.about["looks"][-1]["final"]
    monkeypatch.setattr(latency_steps, "plan_latency", None)  # another machine would choose otherwise
    again = step(model, task, new_run(tmp_path))
    assert same_bits(state_of(again), state_of(found.model)) and step.cuts(run) == found.cuts


def test_a_real_clock_gives_a_network_that_runs(tmp_path):
    """Without a bar on the time: the machine may be busy."""
    step = PruneToLatency(
        Target(ratio=0.7, slack=0.6), eager, batch_size=64, multiples=(1,), seconds=0.01, confirm_seconds=0.01
    )
    task, model = small_task(), conv_net()
    try:
        pruned = step(model, task, new_run(tmp_path))
    except MeasurementError:
        return
    assert pruned(IMAGES).shape == (4, 3)
    assert replace(step, name="x") != step
