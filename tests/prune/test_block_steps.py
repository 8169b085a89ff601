"""prune/block_steps.py: what is taken out, mended, kept in the run."""

from dataclasses import replace

import pytest
import torch
from tiny import CLASSES, new_run, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.errors import RunConflictError, SettingError
from prunelle.graph.cuts import Cuts
from prunelle.models.save import load, save
from prunelle.prune.block_steps import RemoveBlocks
from prunelle.prune.blocks import without
from prunelle.prune.channel_repairs import least_squares_repair

pytestmark = pytest.mark.usefixtures("one_thread")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.shortcut = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Identity()

    def forward(self, x):
        return self.shortcut(x) + self.norm(self.conv(x))


def residual_net():
    return seeded(lambda: nn.Sequential(Residual(), Residual(), nn.Flatten(), nn.Linear(72, CLASSES)))


def num_gone(model):
    return sum(isinstance(module, nn.Identity) for module in model)


def test_it_chooses_cuts_and_mends(tmp_path):
    model, task, seen = residual_net(), small_task(augmented=True), []

    def repair(left, dense, cuts, of, generator):
        assert of is task and num_gone(dense) == 0 and num_gone(left) == len(cuts.replaced) == 1
        seen.append(torch.rand(1, generator=generator))
        return left

    step, run = RemoveBlocks(num=1, repairs=(repair,)), new_run(tmp_path)
    before = state_of(model)
    left = step(model, task, run)
    assert num_gone(left) == 1 and same_bits(state_of(model), before)
    assert len(seen) == 3 and len(set(map(float, seen))) == 1  # two trials and the choice, on the same images
    assert same_bits(state_of(without(model, step.cuts(run))), state_of(left))


def test_what_was_tried_is_told(tmp_path):
    found = RemoveBlocks(num=1)(residual_net(), small_task(), new_run(tmp_path))
    about = RemoveBlocks(num=1).cut(residual_net(), small_task(), new_run(tmp_path)).about
    assert num_gone(found) == 1
    assert [row["module"] for row in about["rows"]] in (["0", "1"], ["1", "0"])
    assert [row["taken"] for row in about["rows"]] == [True, False]
    # 36 places, 9 taps, 2 x 2 channels
    assert about["macs_before"] - about["macs_after"] == 36 * 9 * 4 == about["rows"][0]["macs_saved"]


def test_batch_norm_is_estimated_anew_unless_told_not_to(tmp_path):
    model, task = residual_net(), small_task(augmented=True)
    bare = RemoveBlocks(num=1, repairs=())(model, task, new_run(tmp_path / "a"))
    mended = RemoveBlocks(num=1)(model, task, new_run(tmp_path / "b"))
    norms = [[m for m in net.modules() if isinstance(m, nn.BatchNorm2d)] for net in (bare, mended)]
    assert torch.equal(norms[0][0].running_mean, torch.zeros(2))
    assert not torch.equal(norms[1][0].running_mean, torch.zeros(2))
    assert torch.equal(norms[0][0].weight, norms[1][0].weight)


def test_other_repairs_follow(tmp_path):
    left = RemoveBlocks(num=1, repairs=(least_squares_repair,))(residual_net(), small_task(), new_run(tmp_path))
    bare = RemoveBlocks(num=1, repairs=())(residual_net(), small_task(), new_run(tmp_path / "b"))
    assert num_gone(left) == 1 and not same_bits(state_of(left), state_of(bare))


def test_links_can_go_and_what_is_left_is_saved(tmp_path):
    model, run = residual_net(), new_run(tmp_path)
    step = RemoveBlocks(num=2, kinds=("link",))
    left = step(model, small_task(), run)
    assert {one.module for one in step.cuts(run).replaced} == {"0.shortcut", "1.shortcut"}
    save(left, tmp_path / "saved", cuts=step.cuts(run))
    again = load(tmp_path / "saved", residual_net())
    x = torch.randn(2, 2, 6, 6)
    assert same_bits(state_of(again), state_of(left)) and torch.equal(again(x), left.eval()(x))


def test_none_asked_leaves_every_bit(tmp_path):
    model, run = residual_net(), new_run(tmp_path)
    assert same_bits(state_of(RemoveBlocks(num=0)(model, small_task(), run)), state_of(model))
    assert RemoveBlocks(num=0).cuts(run) == Cuts()


def test_a_run_keeps_one_step_of_a_name(tmp_path):
    step, run = RemoveBlocks(num=1), new_run(tmp_path)
    step(residual_net(), small_task(), run)
    with pytest.raises(RunConflictError, match="is of other settings"):
        replace(step, num=2)(residual_net(), small_task(), run)


def test_amounts_are_checked_when_it_is_made():
    with pytest.raises(SettingError, match=r"macs is 1\.5, a share"):
        RemoveBlocks(macs=1.5)
    with pytest.raises(SettingError, match="macs is None and num is None"):
        RemoveBlocks()
