"""prune/channel_steps.py, stored_cut.py and channel_repairs.py: what is cut, kept in the run, and mended."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import conv_net, new_run, same_bits, small_task, state_of
from torch import nn

from prunelle.data.augment import crop_flip
from prunelle.errors import CorruptFileError, ModelError, RunConflictError, SettingError
from prunelle.graph.cuts import Cuts, replay_
from prunelle.measure.macs import count_macs
from prunelle.prune import channel_steps
from prunelle.prune import stored_cut as module
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair, training_images
from prunelle.prune.channel_scores import geometric_median, random, taylor
from prunelle.prune.channel_select import over_all_sets
from prunelle.prune.channel_steps import PruneChannels, PruneChannelsGradually
from prunelle.prune.channels import plan_channels, prune_channels
from prunelle.prune.repair import reestimate_batch_norm
from prunelle.prune.stored_cut import StoredCut, cut_once, cuts_of, store_cut, stored_cut
from prunelle.seeds import generator
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=2, lr=0.05, batch_size=16)
IMAGE = torch.ones(1, 2, 6, 6)


def macs(model):
    return count_macs(model, IMAGE).total


def wide_net():
    """Four sets of 20 channels each."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 20, 3, padding=1)]
    for _ in range(3):
        layers += [nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 20, 3, padding=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3))


def widths(model):
    return [module.out_channels for module in model if isinstance(module, nn.Conv2d)]


def test_one_shot_is_prune_channels_in_a_run(tmp_path):
    model, task = conv_net(), small_task()
    found = PruneChannels(0.5)(model, task, new_run(tmp_path))
    assert same_bits(state_of(found), state_of(prune_channels(model, IMAGE, 0.5)))


def test_settings_reach_the_plan(tmp_path):
    model, task = wide_net(), small_task()
    step = PruneChannels(0.5, of="macs", score=taylor, scope=over_all_sets, floor=3, multiple=4, skip=("0",))
    found = step(model, task, new_run(tmp_path))
    assert widths(found)[0] == 20 and all(width % 4 == 0 for width in widths(found)) and macs(found) <= macs(model) / 2


@pytest.mark.parametrize("step", [PruneChannels(0.0), PruneChannelsGradually(0.0, 2, SETTINGS)], ids=["once", "rounds"])
def test_at_amount_0_nothing_is_cut(tmp_path, step):
    model, task, run = conv_net(), small_task(), new_run(tmp_path)
    repaired = replace(step, repairs=(batch_norm_repair,))
    found = repaired(model, task, run)
    assert repaired.cuts(run) == Cuts() and macs(found) == macs(model)
    if isinstance(step, PruneChannels):
        assert same_bits(state_of(found), state_of(model))
    else:
        trained = model
        for number in range(2):
            trained = Train(SETTINGS, f"channels-train{number}")(trained, task, new_run(tmp_path, b=1))
        assert same_bits(state_of(found), state_of(trained))


def test_the_cuts_of_a_run_make_the_dense_network_the_cut_one(tmp_path):
    model, task, run = wide_net(), small_task(), new_run(tmp_path)
    step = PruneChannelsGradually(0.6, 3, SETTINGS, score=random)
    assert step.cuts(run) == Cuts()
    found = step(model, task, run)
    assert widths(found) == [8, 8, 8, 8]
    rebuilt = wide_net()
    replay_(rebuilt, step.cuts(run))
    rebuilt.load_state_dict(found.state_dict())
    assert same_bits(state_of(rebuilt), state_of(found)) and rebuilt(IMAGE).shape == (1, 3)
    assert len(step.cuts(run).tensors) == sum(len(step.step(n, None).cuts(run).tensors) for n in range(3))


@pytest.mark.parametrize("of", ["channels", "macs", "params"])
def test_rounds_reach_the_share_of_the_first_network(tmp_path, of):
    model, task, run = wide_net(), small_task(), new_run(tmp_path)
    step = PruneChannelsGradually(0.5, 3, replace(SETTINGS, epochs=1), of=of)
    found = step(model, task, run)
    sizes = [run.load_checkpoint(f"channels-cut{number}")[1]["about"] for number in range(3)]
    left = [one["after"] / sizes[0]["before"] for one in sizes]
    for share, wanted, above in zip(left, (5 / 6, 4 / 6, 0.5), (0.05, 0, 0), strict=True):  # a set loses whole channels
        assert wanted - 0.08 < share <= wanted + above
    assert [(row["stage"], row["epoch"]) for row in run.rows()] == [(f"channels-train{n}", 1) for n in range(3)]
    if of == "channels":
        assert sum(widths(found)) == 40
    if of == "macs":
        assert macs(found) / macs(model) == pytest.approx(left[-1])


def test_a_cut_is_made_once_and_found_again(tmp_path, monkeypatch):
    model, task = conv_net(), small_task()
    step = PruneChannels(0.5, repairs=(batch_norm_repair, least_squares_repair))
    found = step(model, task, new_run(tmp_path))
    monkeypatch.setattr(channel_steps, "plan", None)
    again = step(model, task, new_run(tmp_path))
    assert same_bits(state_of(again), state_of(found)) and again[3].groups == found[3].groups
    with pytest.raises(RunConflictError, match="its checkpoint of channels is of other settings, weights or data"):
        replace(step, amount=0.6)(model, task, new_run(tmp_path))
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(RunConflictError, match="of other settings, weights or data; give the run settings of its own"):
        step(model, task, new_run(tmp_path))


def test_a_stored_cut_keeps_what_is_not_in_the_cuts(tmp_path):
    """Such as a constant that was folded into a bias, and whatever was measured."""
    model, run = conv_net(), new_run(tmp_path)
    pruned = prune_channels(model, IMAGE, 0.5)
    with torch.no_grad():
        pruned[8].bias += 1
    cuts = PruneChannels(0.5)(model, small_task(), run) and cuts_of(run, "channels")
    store_cut(run, "mine", "this", StoredCut(pruned, cuts, {"median_ms": 0.25}))
    found = stored_cut(run, "mine", "this", model)
    assert same_bits(state_of(found.model), state_of(pruned)) and found.cuts == cuts
    assert found.about == {"median_ms": 0.25} and stored_cut(run, "other", "this", model) is None
    store_cut(run, "mine", "this", StoredCut(model, cuts, {}))
    with pytest.raises(CorruptFileError, match="its checkpoint of mine is of another network; delete it"):
        stored_cut(run, "mine", "this", model)


def test_of_several_ranks_the_first_cuts_and_the_others_take_it(tmp_path, monkeypatch):
    model, run = conv_net(), new_run(tmp_path)
    made = StoredCut(prune_channels(model, IMAGE, 0.5), plan_channels(model, IMAGE, 0.5).cuts, {"ms": 1.0})

    class Second:
        rank = 1

        def barrier(self):
            store_cut(run, "mine", "this", made)  # by then the first rank has

    monkeypatch.setattr(module, "join", lambda device: Second())
    found = cut_once(run, "mine", "this", model, lambda: pytest.fail("the second rank cuts"))
    assert same_bits(state_of(found.model), state_of(made.model)) and found.about == {"ms": 1.0}


def test_repairs_are_made_in_order_on_images_of_their_own(tmp_path):
    told = []

    def note(pruned, dense, cuts, task, generator, mark):
        told.append((mark, dense, len(cuts.tensors), generator.initial_seed()))
        pruned[8].bias.data += mark
        return pruned

    model, task = conv_net(), small_task()
    found = PruneChannels(0.5, repairs=(partial(note, mark=1), partial(note, mark=2)))(model, task, new_run(tmp_path))
    plain = prune_channels(model, IMAGE, 0.5)
    assert torch.equal(found[8].bias, plain[8].bias + 1 + 2)
    assert [mark for mark, *_ in told] == [1, 2] and told[0][3] != told[1][3]
    assert all(same_bits(state_of(dense), state_of(model)) and num > 0 for _, dense, num, _ in told)


def test_batch_norm_repair_is_reestimation_on_augmented_training_images():
    model, task = conv_net(), small_task(300, augmented=True)
    pruned = prune_channels(model, IMAGE, 0.5)
    images = training_images(task, generator(0, "x"), 200)
    found = batch_norm_repair(pruned, model, Cuts(), task, generator(0, "x"), num_images=200)
    assert [len(batch) for batch in images] == [128, 128]
    assert same_bits(state_of(found), state_of(reestimate_batch_norm(pruned, images)))
    again, other = (training_images(task, generator(seed, "x"), 200) for seed in (0, 1))
    assert torch.equal(images[0], again[0]) and not torch.equal(images[0], other[0])
    assert (
        task.train.augment is crop_flip
        and (torch.cat(images) == task.preprocessing(torch.zeros(1, 2, 6, 6))[0, 0, 0, 0]).any()
    )


def test_of_a_small_set_there_are_two_batches():
    assert [len(batch) for batch in training_images(small_task(48), generator(0), 1024)] == [24, 24]


def test_refusals(tmp_path):
    model, task = conv_net(), small_task()
    with pytest.raises(SettingError, match="channels: rounds is 0, must be at least 1"):
        PruneChannelsGradually(0.5, 0, SETTINGS)
    with pytest.raises(SettingError, match=r"amount is 1\.5, must lie in \[0, 1\)"):
        PruneChannels(1.5)(model, task, new_run(tmp_path))
    with pytest.raises(SettingError, match="amount is a share of 'bytes', must be one of channels, macs, params"):
        PruneChannels(0.5, of="bytes")(model, task, new_run(tmp_path))
    with pytest.raises(ModelError, match=r"at most .* of the macs can go with whole channels, 95.0% were asked for"):
        PruneChannels(0.95, of="macs", score=geometric_median)(model, task, new_run(tmp_path))
