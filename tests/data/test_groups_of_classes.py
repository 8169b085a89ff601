"""data/groups.py: splits as a member of a class-wise network sees them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import small_task

from prunelle.data.arrays import ArraySplit
from prunelle.data.folder import load_folder
from prunelle.data.groups import Balanced, Regrouped, labels_of, own_targets, picked
from prunelle.data.loaders import from_loaders
from prunelle.data.parts import Part
from prunelle.data.shard_split import ShardSplit, load_shards
from prunelle.data.stream import StreamSplit
from prunelle.data.task import Split
from prunelle.errors import DataError
from prunelle.seeds import generator

from . import small_sets

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = [0, 1, 2, 3] * 5 + [0, 0, 0, 0]
"""Of 24 images that hold their own number: nine of class 0, five each of 1, 2 and 3."""


def arrays(labels: list[int] | None = None) -> ArraySplit:
    found = torch.tensor(LABELS if labels is None else labels)
    images = torch.arange(len(found), dtype=torch.uint8).view(-1, 1, 1, 1)
    plain = replace(small_task().preprocessing, mean=(0.0,), std=(1.0,), value_range=(0.0, 1.0))
    return ArraySplit(images, found, plain)


def loader(labels: list[int] | None = None) -> Split:
    split = arrays(labels)
    stored = list(zip(split.images.float().split(5), split.labels.split(5), strict=True))
    return from_loaders(stored, stored, stored, input_shape=(1, 1, 1), num_classes=4).train


KINDS = {"arrays": arrays, "loader": loader}
BOTH = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def seen(split: Split, seed: int | None, **how) -> list[tuple[int, int]]:
    """(number that the image holds, target) of one epoch."""
    order = None if seed is None else generator(seed, "order")
    return [
        (int(image), int(target))
        for images, targets in split.epoch(4, order=order, **how)
        for image, target in zip(images.flatten(), targets, strict=True)
    ]


def test_targets_are_numbered_from_one_in_the_groups_order():
    targets = torch.tensor([0, 1, 2, 3, 2])
    assert own_targets(targets, (2, 0)).tolist() == [2, 0, 1, 0, 1]
    assert own_targets(targets, ()).tolist() == [0] * 5
    assert targets.tolist() == [0, 1, 2, 3, 2]


def test_labels_are_read_where_they_stand_or_drawn():
    assert labels_of(arrays()).tolist() == labels_of(loader()).tolist() == LABELS
    with pytest.raises(
        DataError, match=r"^groups: targets are torch.float32 \(24,\), must be one class number each\.$"
    ):
        labels_of(replace(arrays(), labels=torch.zeros(24)))
    with pytest.raises(DataError, match=r"targets are torch.int64 \(24, 2\)"):
        labels_of(replace(arrays(), labels=torch.zeros(24, 2, dtype=torch.int64)))


@BOTH
def test_regrouped_is_the_split_with_other_targets(make):
    split = Regrouped(make(), (3, 1))
    wanted = [(number, {3: 1, 1: 2}.get(label, 0)) for number, label in enumerate(LABELS)]
    assert seen(split, None) == wanted and len(split) == 24
    assert seen(split, None, start=4) == wanted[16:]
    assert seen(split.to("cpu"), None) == wanted


@BOTH
def test_own_and_others_are_equally_many_and_the_others_change_with_the_epoch(make):
    split = Balanced(make(), (1,))
    epochs = [seen(split, seed) for seed in range(6)]
    for found in epochs:
        assert len(found) == len(split) == 10
        own = sorted(number for number, target in found if target)
        others = [number for number, target in found if not target]
        assert own == [1, 5, 9, 13, 17]
        assert len(set(others)) == 5 and not set(others) & set(own)
    assert seen(split, 3) == epochs[3]
    drawn = [frozenset(number for number, target in found if not target) for found in epochs]
    assert len(set(drawn)) > 4


@BOTH
def test_without_an_order_the_first_others_are_taken(make):
    found = seen(Balanced(make(), (1,)), None)
    assert sorted(found) == [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 1), (6, 0), (9, 1), (13, 1), (17, 1)]


@BOTH
def test_every_other_example_has_the_same_chance(make):
    split = Balanced(make(), (1,))
    counts = Counter(number for seed in range(400) for number, target in seen(split, seed) if not target)
    assert len(counts) == 19
    # 5 of 19 in each of 400 epochs: 105 expected, standard deviation 8.8.
    assert all(60 < count < 150 for count in counts.values())


@BOTH
def test_where_others_are_fewer_each_comes_as_often_as_the_next_or_once_more(make):
    split = Balanced(make([0, 0, 0, 1, 0, 0, 2, 0, 0]), (0,))
    assert len(split) == 14
    for seed in (None, 0, 1, 2):
        found = seen(split, seed)
        assert sum(target for _, target in found) == 7 and len(found) == 14
        assert sorted(Counter(number for number, target in found if not target).items()) in (
            [(3, 4), (6, 3)],
            [(3, 3), (6, 4)],
        )


@BOTH
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_resumed_epoch_is_the_tail(make, drop_last):
    split = Balanced(make(), (1, 3))
    whole = seen(split, 5, drop_last=drop_last)
    assert len(whole) == 20
    for start in (1, 3, 5):
        assert seen(split, 5, start=start, drop_last=drop_last) == whole[4 * start :]


@BOTH
def test_the_last_batch_is_dropped_where_it_is_not_whole(make):
    split = Balanced(make(), (1,))
    assert split.num_batches(4, drop_last=True) == 2
    assert len(seen(split, 1, drop_last=True)) == 8


@pytest.mark.parametrize("begun", [0, 1], ids=["counted with many", "counted with few"])
def test_a_loader_that_drops_examples_still_gives_as_many_as_training_counts_on(begun):
    """A shuffling loader without its last batch does not hold the same classes in every epoch."""

    class Changing:
        def __init__(self):
            self.epoch = begun

        def __iter__(self):
            self.epoch += 1
            labels = torch.tensor([1, 2, 2, 2, 2, 2] if self.epoch % 2 else [1, 1, 1, 2, 2, 2])
            yield torch.zeros(6, 1, 1, 1), labels

    source = Changing()
    split = Balanced(from_loaders(source, source, source, input_shape=(1, 1, 1), num_classes=3).train, (1,))
    lengths = {len(seen(split, seed)) for seed in range(6)}
    assert lengths == {len(split)}


def test_a_split_that_has_run_dry_ends():
    source = [(torch.zeros(6, 1, 1, 1), torch.tensor([1, 2, 2, 2, 2, 2]))]
    split = Balanced(from_loaders(source, source, source, input_shape=(1, 1, 1), num_classes=3).train, (1,))
    assert len(seen(split, 0)) == len(split) == 2
    source.clear()
    assert seen(split, 0) == []


@BOTH
def test_a_group_needs_examples_and_others_beside_it(make):
    with pytest.raises(DataError, match=r"^groups: the training split holds none examples of classes \[7\]\.$"):
        len(Balanced(make(), (7,)))
    with pytest.raises(DataError, match=r"holds nothing but examples of classes \[0, 1, 2, 3\]"):
        list(Balanced(make(), (0, 1, 2, 3)).epoch(4))


def test_nothing_of_the_split_itself_changes():
    split = arrays()
    images, labels = split.images.clone(), split.labels.clone()
    list(Balanced(split, (1,)).to("cpu").epoch(3, order=generator(0)))
    assert torch.equal(split.images, images) and torch.equal(split.labels, labels)


def test_pictures_are_picked_from_memory_from_files_and_from_shards(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("prunelle.data.stream.spare_workers", lambda device: 0)
    root = small_sets.write_images(tmp_path / "pets", num=20)
    made = small_sets.write_shards(root, tmp_path / "made", 8)
    splits = (load_folder(root).train, load_folder(root, memory_bytes=0).train, load_shards(made, memory_bytes=0).train)
    assert [type(split) for split in splits] == [ArraySplit, StreamSplit, ShardSplit]
    for split in splits:
        images, labels = (torch.cat(parts) for parts in zip(*split.epoch(4), strict=True))
        wanted = torch.tensor([5, 0, 5, 11])
        found = picked(split, wanted)
        assert found is not None and len(found) == 4
        (given, targets), *_ = found.epoch(9)
        assert torch.equal(given, images[wanted]) and torch.equal(targets, labels[wanted])
        assert len(split) == len(labels) == 14
        balanced = torch.cat([targets for _, targets in Balanced(split, (1,)).epoch(4, order=generator(1))])
        assert balanced.sum() * 2 == len(balanced) == 2 * int(labels.sum())


def test_of_what_only_comes_by_nothing_is_picked():
    assert picked(loader(), torch.tensor([1])) is None
    assert picked(Part(loader(), 0, 4), torch.tensor([1])) is None
