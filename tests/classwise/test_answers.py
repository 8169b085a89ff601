"""classwise/answers.py: what the whole network says of a few views, and splits whose targets bring it."""

from dataclasses import replace

import pytest
import torch
from tiny import seeded
from torch import nn

from classwise.small_members import CLASSES, task_of
from prunelle.classwise import answers as module
from prunelle.classwise.answers import Answers, Told, asked, views_held, views_of
from prunelle.classwise.member_task import MemberLoss, member_task
from prunelle.classwise.teacher import Merged, compared, widened
from prunelle.data.augment import crop_flip
from prunelle.data.groups import Regrouped
from prunelle.runs import Run
from prunelle.seeds import generator
from prunelle.train.losses import Distillation, Plain, ToldDistillation
from prunelle.train.precision import BF16, FP32


def train_split(augment=crop_flip):
    return replace(task_of(8).train, augment=augment)


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 12), nn.ReLU(), nn.Linear(12, CLASSES)))


def told(group, num_views=3, augment=crop_flip):
    split = train_split(augment)
    shown = views_of(split, num_views, 0)
    with torch.no_grad():
        outputs = net()(shown.preprocessing(shown.images))
    return Told(split, group, Answers(views_held(split, num_views, outputs.shape[1]), shown, outputs))


def test_views_are_the_splits_own_augmentation_and_differ():
    split = train_split()
    shown = views_of(split, 3, 0)
    assert len(shown) == 3 * len(split) and shown.augment is None and shown.images.dtype == split.images.dtype
    first, second, third = shown.images.split(len(split))
    assert torch.equal(second, crop_flip(split.images, generator(0, "view", 1, 0)))
    assert not torch.equal(first, second) and not torch.equal(second, third)
    assert torch.equal(shown.labels, split.labels.repeat(3))
    assert torch.equal(views_of(split, 3, 0).images, shown.images)
    assert not torch.equal(views_of(split, 3, 1).images, shown.images)


def test_views_of_more_images_than_a_batch_each_get_their_own_draw(monkeypatch):
    monkeypatch.setattr(module, "EVAL_BATCH", 20)
    split = train_split()
    shown = views_of(split, 2, 0)
    last = crop_flip(split.images[40:48], generator(0, "view", 1, 2))
    assert torch.equal(shown.images[48 + 40 :], last)


def test_without_augmentation_the_images_are_their_only_view(monkeypatch):
    split = train_split(None)
    assert views_of(split, 4, 0) is split and views_held(split, 4, 3) == 1 and views_held(split, 0, 3) == 0


def test_views_that_outgrow_memory_or_stream_are_not_held(monkeypatch):
    split = train_split()
    assert views_held(split, 4, 3) == 4
    monkeypatch.setattr(module, "MOST_BYTES", 3 * (split.images.nbytes + 4 * 3 * len(split)))
    assert views_held(split, 3, 3) == 3 and views_held(split, 4, 3) == 0 and views_held(split, 3, 4) == 0
    plain = replace(split, augment=None)
    assert views_held(plain, 4, 4) == 1 and views_held(plain, 4, 1 << 30) == 0
    assert views_held(Regrouped(split, (0,)), 1, 3) == 0


@pytest.mark.parametrize("precision", [FP32, BF16], ids=["fp32", "bf16"])
def test_answers_are_the_networks_and_are_kept(tmp_path, precision):
    shown, seen = views_of(train_split(), 2, 0), []
    run = Run.open(tmp_path, {"a": 1}, 0)
    found = asked(net().train(), shown, precision, run, seen.append)
    wanted = net().eval()(shown.preprocessing(shown.images))
    assert found.shape == (96, CLASSES) and found.dtype == torch.float32 and seen == [1.0]
    assert torch.allclose(found, wanted, atol=1e-6 if precision is FP32 else 0.05)
    assert torch.allclose(found, wanted, atol=1e-6) == (precision is FP32) and run.done
    again = asked(nn.Identity(), shown, precision, run, seen.append)
    assert torch.equal(again, found) and seen == [1.0]


def test_interrupted_it_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVAL_BATCH", 20)
    shown = views_of(train_split(), 2, 0)
    whole = asked(net(), shown, FP32, Run.open(tmp_path / "one", {}, 0), lambda share: None)

    def stop(share):
        if share > 0.5:
            raise KeyboardInterrupt

    run, seen = Run.open(tmp_path / "two", {}, 0), []
    with pytest.raises(KeyboardInterrupt):
        asked(net(), shown, FP32, run, stop, checkpoint_seconds=-1.0)
    parts = asked(net(), shown, FP32, run, seen.append)
    assert torch.equal(parts, whole) and len(seen) == 3


@pytest.mark.parametrize("group", [(1, 4), (3,), tuple(range(CLASSES))])
def test_targets_bring_the_class_and_the_answer_about_that_very_image(group):
    split = told(group)
    task = replace(task_of(8), train=train_split())
    assert len(split) == len(member_task(task, group).train)
    for order in (None, torch.Generator().manual_seed(5)):
        seen = 0
        for images, targets in split.epoch(7, order=order, drop_last=False):
            with torch.no_grad():
                said = net()(images)
            assert torch.allclose(targets[:, 1:], widened(said, group), atol=1e-5)
            seen += len(images)
        assert seen == len(split)


def test_half_are_of_own_classes_and_numbered_as_the_member_has_them():
    split = told((4, 1))
    labels = torch.cat([targets[:, 0] for _, targets in split.epoch(16, order=torch.Generator().manual_seed(1))])
    assert (labels == 0).sum() == len(labels) // 2 and set(labels.tolist()) == {0.0, 1.0, 2.0}


def test_epochs_show_other_views_and_resume_in_the_middle():
    order = lambda seed: torch.Generator().manual_seed(seed)  # noqa: E731
    every = told(tuple(range(CLASSES)))
    sums = [next(iter(every.epoch(len(every), order=order(seed))))[0].sum((1, 2, 3)).sort().values for seed in (1, 2)]
    assert not torch.equal(*sums)
    split = told((0, 3))
    whole = list(split.epoch(6, order=order(3), drop_last=True))
    tail = list(split.epoch(6, order=order(3), start=2, drop_last=True))
    assert len(tail) == len(whole) - 2
    for (images, targets), (others, wanted) in zip(tail, whole[2:], strict=True):
        assert torch.equal(images, others) and torch.equal(targets, wanted)


@pytest.mark.parametrize("group", [(1, 4), (3,)])
def test_the_loss_is_that_of_a_teacher_who_is_asked_anew(group):
    split = told(group)
    seen = compared(group, CLASSES)
    images, targets = next(iter(split.epoch(16, order=torch.Generator().manual_seed(1))))
    outputs = torch.randn(16, 1 + CLASSES, generator=torch.Generator().manual_seed(2))
    base = Plain(MemberLoss(len(group)))
    live = Distillation(base, Merged(net(), group), 3.0, 0.7, seen)(images, outputs, targets[:, 0].long())
    assert ToldDistillation(base, 3.0, 0.7, seen)(images, outputs, targets).item() == pytest.approx(
        live.item(), rel=1e-5
    )
