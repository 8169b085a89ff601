"""classwise/cutting.py: which channels a member gives up, and that it is the masked member."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from prunelle.classwise.cutting import Cutting, Evidence, candidates, gone, plan_member, to_json
from prunelle.classwise.head import member_of
from prunelle.classwise.look import Look, look_at
from prunelle.classwise.member import head_batches
from prunelle.classwise.member_task import member_task
from prunelle.data.task import Task
from prunelle.errors import ModelError, SettingError
from prunelle.graph.cuts import Cut
from prunelle.measure.card import count
from prunelle.measure.latency import Timing
from prunelle.prune import latency_target
from prunelle.prune.channel_scores import l2_norm, taylor
from prunelle.prune.channel_select import over_all_sets, per_set
from prunelle.prune.latency_target import Target

from .small_members import CLASSES, FAMILIES, family, planned, task_of

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def seen(name: str) -> tuple[nn.Module, Task, Look]:
    return family(name)


@pytest.mark.parametrize("group", [(3,), (0, 1, 2, 4, 5)], ids=["1 class", "5 classes"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_member_is_its_masked_version(name, group):
    model, task, look = seen(name)
    member, made = planned(model, task, look, group, Cutting(0.5, score=None))
    assert len(made.plan.cuts.tensors) > 4
    example = next(iter(task.val.epoch(3)))[0]
    proof = made.plan.prove(member, example)
    assert proof.error <= 1e-10 and not proof.constant and not proof.raised
    cut = made.plan.apply(member).eval()
    share = count("m", cut, task.input_shape).macs / look.macs
    assert 0.2 < share <= 0.5
    assert cut(example).shape == (3, 1 if len(group) == 1 else 6)


def test_members_of_other_classes_give_up_other_channels():
    model, task, look = seen("resnet")
    removed = [
        planned(model, task, look, group, Cutting(0.5, score=None))[1].plan.removed for group in ((0, 1), (4, 5))
    ]
    assert (removed[0] != removed[1]).any()
    again = planned(model, task, look, (0, 1), Cutting(0.5, score=None))[1].plan.removed
    assert (again == removed[0]).all()


@pytest.mark.parametrize("score", [taylor, l2_norm])
def test_scores_of_rows_on_the_members_own_task(score):
    model, task, look = seen("resnet")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    member, made = planned(model, task, look, (0, 2), Cutting(0.3, score=score, floor=2, multiple=4))
    cut = made.plan.apply(member)
    assert count("m", cut, task.input_shape).macs <= 0.3 * look.macs
    widths = [module.out_channels for module in cut.modules() if isinstance(module, nn.Conv2d)]
    assert min(widths) >= 2 and all(width % 4 == 0 for width in widths)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def small_net(groups: int = 1) -> nn.Module:
    """Eight channels, then eight; with groups the second layer is a grouped convolution."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 1, groups=groups),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    ).eval()


@pytest.fixture(scope="module")
def small() -> tuple[nn.Module, Task, Look]:
    model, task = small_net(), task_of(4, channels=1)
    with torch.no_grad():
        # Channels that are sometimes, often and always 0.
        model[0].weight.copy_(torch.tensor([1.0, 1, 1, 1, 1, -1, -1, -1]).view(8, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([2.0, 1, 0.5, -0.2, -0.6, 0.0, -1.0, -9.0]))
    return model, task, look_at(model, task, num_images=48)


def test_thresholds_take_exactly_what_is_idle_and_faint(small):
    model, task, look = small
    for apoz, mean in ((0.3, 0.8), (0.6, 10.0), (0.0, 0.3)):
        cutting = Cutting(None, None, over_all_sets, apoz, mean, floor=1)
        _, made = planned(model, task, look, (0, 1, 2), cutting)
        for one in made.plan.tied.sets:
            found = made.activity
            idle = (found.apoz[one.units] > apoz) & (found.mean[one.units] < mean)
            assert 0 < idle.sum() < 8 or one.name != "0"
            if not idle.all():
                assert (made.plan.removed[one.units] == idle).all()


def test_a_floor_gives_back_the_most_active(small):
    model, task, look = small
    for floor in (1, 3, 6):
        _, made = planned(model, task, look, (0, 1, 2), Cutting(None, None, per_set, 0.0, 50.0, floor=floor))
        (first, *_) = made.plan.tied.sets
        kept = first.units[~made.plan.removed[first.units]]
        never_idle = first.units[made.activity.apoz[first.units] == 0]
        assert len(kept) == max(floor, len(never_idle)) and set(never_idle) <= set(kept)
        left = np.setdiff1d(first.units, kept)
        given_back = np.setdiff1d(kept, never_idle)
        if len(given_back):
            assert made.activity.mean[given_back].min() >= made.activity.mean[left].min()


def test_thresholds_that_nothing_is_beyond_take_nothing(small):
    model, task, look = small
    member, made = planned(model, task, look, (0, 1), Cutting(None, None, over_all_sets, 1.0, 0.0))
    assert not made.plan.removed.any() and not made.plan.cuts.tensors
    told = to_json(made, "ab", Cutting(None, None, over_all_sets, 1.0, 0.0), "data")
    assert all(line["removed"] == 0 and line["apoz"] is None and line["mean"] is None for line in told["sets"])
    assert told["tensors"] == []
    example = task.val.images[:2].float()
    assert torch.equal(made.plan.apply(member)(example), member(example))


def test_a_target_of_the_whole_network_takes_nothing_but_what_the_head_adds(small):
    model, task, look = small
    _, made = planned(model, task, look, (0, 1), Cutting(1.0, None))
    assert not made.plan.removed.any()


def test_a_target_that_cannot_be_reached_is_refused(small):
    model, task, look = small
    with pytest.raises(ModelError, match="multiply-adds"):
        planned(model, task, look, (0, 1), Cutting(0.05, None, floor=6))


def test_a_set_keeps_one_even_where_all_are_idle(small):
    _, made = planned(*small, (0, 1), Cutting(None, None, over_all_sets, 1.0, 0.0))
    found = candidates(made.plan.tied, np.ones(len(made.plan.removed), dtype=bool))
    for one in made.plan.tied.sets:
        assert found[one.units].sum() == len(one.units) - 1
    assert found.sum() == sum(len(one.units) - 1 for one in made.plan.tied.sets)


@pytest.mark.parametrize("name", FAMILIES)
def test_candidates_list_just_what_the_cuts_took(name):
    model, task, look = seen(name)
    cutting = Cutting(0.5, score=None)
    member, made = planned(model, task, look, (1, 3), cutting)
    told = to_json(made, ("b", "d"), cutting, task.fingerprint)
    assert told["classes"] == ["b", "d"] and told["data"] == "colours" and told["thresholds"] is None
    assert told["score"] == "activity" and told["floor"] == 4 and told["zero"] == 0.0
    assert sum(line["removed"] for line in told["sets"]) == int(
        sum(made.plan.removed[one.units].sum() for one in made.plan.tied.sets)
    )
    before, after = member.state_dict(), made.plan.apply(member).state_dict()
    expected = {name: list(tensor.shape) for name, tensor in before.items()}
    for line in told["tensors"]:
        assert line["removed"] and line["groups"] == 1
        assert set(line["removed"]) < set(range(before[line["tensor"]].shape[line["axis"]]))
        expected[line["tensor"]][line["axis"]] -= len(line["removed"])
    assert expected == {name: list(tensor.shape) for name, tensor in after.items()}
    # A tensor that is only cut, never folded: what is left are the indices that are not listed.
    line = next(line for line in told["tensors"] if line["axis"] == 0 and line["tensor"].endswith("running_var"))
    left = np.setdiff1d(np.arange(len(before[line["tensor"]])), line["removed"])
    assert torch.equal(after[line["tensor"]], before[line["tensor"]][left])


def test_candidates_of_a_grouped_convolution_are_told_block_by_block():
    model, task = small_net(groups=2), task_of(4, channels=1)
    with torch.no_grad():
        # Idle: channels 2, 3 of the first block and 0, 1 of the second.
        model[0].weight.copy_(torch.tensor([1.0, 1, -1, -1, -1, -1, 1, 1]).view(8, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([3.0, 3, -9, -9, -9, -9, 3, 3]))
    look = look_at(model, task, num_images=48)
    cutting = Cutting(None, None, over_all_sets, 0.9, 0.1, floor=1)
    _, made = planned(model, task, look, (0, 1), cutting)
    told = {(line["tensor"], line["axis"]): line for line in to_json(made, "ab", cutting, "data")["tensors"]}
    assert told["0.weight", 0]["removed"] == [2, 3, 4, 5]
    assert told["2.weight", 1] == {"tensor": "2.weight", "axis": 1, "groups": 2, "removed": [2, 3, 0, 1]}
    assert gone(Cut(tensor="x", axis=0, kept=list(range(3))), 3) == []


def test_what_candidates_say_of_a_set_by_hand(small):
    model, task, look = small
    cutting = Cutting(None, None, over_all_sets, 0.3, 0.8, floor=1)
    _, made = planned(model, task, look, (0, 1, 2), cutting)
    told = to_json(made, "abc", cutting, "data")
    assert told["thresholds"] == {"apoz": 0.3, "mean": 0.8}
    for one, line in zip(made.plan.tied.sets, told["sets"], strict=True):
        units = one.units[made.plan.removed[one.units]]
        assert (line["set"], line["channels"], line["removed"]) == (one.name, 8, len(units))
        if len(units):
            assert line["apoz"] == made.activity.apoz[units].min() > 0.3
            assert line["mean"] == made.activity.mean[units].max() < 0.8


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"target_macs": None}, "give target_macs alone, latency alone, or both thresholds"),
        ({"apoz": 0.5}, "give target_macs alone, latency alone, or both thresholds"),
        ({"apoz": 0.5, "mean": 0.5}, "give target_macs alone, latency alone, or both thresholds"),
        ({"target_macs": None, "apoz": 0.5}, "give target_macs alone, latency alone, or both thresholds"),
        ({"latency": Target(ratio=0.5)}, "give target_macs alone, latency alone, or both thresholds"),
        ({"target_macs": None, "latency": Target(ms=1.0), "score": None}, "a latency target needs a score of weights"),
        ({"target_macs": 0.0}, "--target-macs 0.0: must be above 0 and at most 1"),
        ({"target_macs": 1.5}, "--target-macs 1.5: must be above 0 and at most 1"),
    ],
)
def test_settings_that_say_nothing_or_too_much(changed, text):
    with pytest.raises(SettingError) as caught:
        Cutting(**changed)
    assert text in str(caught.value)


class Machine:
    """A runtime and a timer: a call takes a tenth of the dense network's milliseconds, and the rest by its
    multiply-adds. Final."""

    def __init__(self, monkeypatch, dense: nn.Module, shape: tuple[int, ...]) -> None:
        self.shape, self.dense = shape, count("m", dense, shape).macs
        monkeypatch.setattr(latency_target, "time_interleaved", self.race)

    def load(self, model, image, threads):
        assert len(image) == threads == 1
        return lambda images: self.ms(model)

    def ms(self, model):
        return 1 + 9 * count("m", model, self.shape).macs / self.dense

    def race(self, runs, *, device, threads, min_seconds):
        times = [run() for run in runs]
        return tuple(Timing(ms, ms, ms, times[0] / ms, times[0] / ms, times[0] / ms, 30, 1) for ms in times)


@pytest.mark.parametrize(("target", "low", "high"), [(Target(ratio=0.5), 0.45, 0.5), (Target(ms=7.0), 0.63, 0.7)])
def test_a_member_is_cut_until_it_is_as_fast_as_it_must_be(monkeypatch, target, low, high):
    model, task, look = seen("vgg")
    member = member_of(model, look.head, (1, 4), head_batches(task, 0))
    machine = Machine(monkeypatch, member, task.input_shape)
    told = Cutting(None, latency=target, runtime=machine.load, floor=1)
    made = plan_member(member, member_task(task, (1, 4)), (1, 4), Evidence(look.activations, look.macs), told)
    pruned = made.plan.apply(member)
    assert low <= machine.ms(pruned) / 10 <= high
    assert len(made.activity.apoz) == len(made.plan.removed)
    line = to_json(made, ("b", "e"), told, "print")
    assert line["thresholds"] is None and (line["latency"]["ratio"], line["latency"]["ms"]) == (target.ratio, target.ms)
    assert line["latency"]["looks"][-1]["median_ms"] == machine.ms(pruned) and line["latency"]["looks"][-1]["final"]


def test_what_residual_sums_carry_goes_too_where_a_time_is_out_of_reach_without(small, monkeypatch):
    model, task, look = small
    member = member_of(model, look.head, (1, 4), head_batches(task, 0))
    machine = Machine(monkeypatch, member, task.input_shape)
    evidence = Evidence(look.activations, look.macs, tuple(name for name, _ in member.named_modules() if name))
    told = Cutting(None, latency=Target(ratio=0.5), runtime=machine.load, floor=1)
    made = plan_member(member, member_task(task, (1, 4)), (1, 4), evidence, told)
    assert made.plan.removed.any()


def test_limits_are_checked_where_they_are_used(small):
    with pytest.raises(SettingError, match="floor is 0"):
        planned(*small, (0, 1), Cutting(0.5, None, floor=0))


def test_planning_leaves_the_member_as_it_was(small):
    model, task, look = small
    before = copy.deepcopy(model.state_dict())
    planned(model, task, look, (2, 3), Cutting(0.5))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
