from dataclasses import replace

import pytest
import torch
from tiny import small_task
from torch.utils.data import DataLoader, TensorDataset

from prunelle.data.arrays import ArraySplit
from prunelle.data.augment import crop_flip
from prunelle.data.loaders import from_loaders
from prunelle.data.parts import Part, choose_on_test, first_of, part_of
from prunelle.data.task import Split, Task
from prunelle.errors import DataError, SettingError

NUM = 24


def loader_task(loader_batch: int = 5) -> Task:
    """24 images that hold their own number, drawn five at a time: no border of ours is one of the loader's."""
    images = torch.arange(float(NUM)).view(NUM, 1, 1, 1)
    loader = DataLoader(TensorDataset(images, torch.arange(NUM) % 3), batch_size=loader_batch)
    return from_loaders(loader, loader, loader, input_shape=(1, 1, 1), num_classes=3)


def array_task() -> Task:
    """The same as an ArraySplit, with augmentation, which a part must not have."""
    task = small_task()
    images = torch.arange(NUM, dtype=torch.uint8).view(NUM, 1, 1, 1)
    scaling = loader_task().preprocessing
    split = ArraySplit(images, torch.arange(NUM) % 3, scaling, crop_flip)
    return replace(task, train=split, val=split, test=split)


TASKS = {"arrays": array_task, "loader": loader_task}
BOTH = pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)


def numbers(split: Split, batch_size: int, **how) -> list[list[int]]:
    """The numbers that the images hold, batch by batch; labels must be theirs."""
    found = []
    for images, labels in split.epoch(batch_size, **how):
        own = images.flatten().int().tolist()
        assert labels.tolist() == [one % 3 for one in own]
        found.append(own)
    return found


@BOTH
def test_a_part_is_its_examples_in_stored_order_across_all_borders(make):
    part = part_of(make().train, 3, 14)
    assert len(part) == 11
    assert numbers(part, 4) == [[3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13]]
    assert numbers(part, 100) == [list(range(3, 14))]
    assert numbers(part, 1) == [[one] for one in range(3, 14)]


@BOTH
@pytest.mark.parametrize("batch_size", [1, 3, 4, 6, 7, 24])
@pytest.mark.parametrize("start, stop", [(0, 24), (0, 6), (6, 12), (5, 24), (23, 24), (1, 23)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_those_of_a_plain_list(make, batch_size, start, stop, drop_last):
    wanted = list(range(start, stop))
    batches = [wanted[at : at + batch_size] for at in range(0, len(wanted), batch_size)]
    if drop_last and len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    part = part_of(make().train, start, stop)
    assert numbers(part, batch_size, drop_last=drop_last) == batches
    assert part.num_batches(batch_size, drop_last) == len(batches)
    assert numbers(part, batch_size, drop_last=drop_last, start=1) == batches[1:]


@BOTH
def test_a_part_is_read_again_and_has_no_augmentation(make):
    part = part_of(make().train, 0, 7)
    how = {"augment": lambda number: torch.Generator().manual_seed(number)}
    assert numbers(part, 4, **how) == numbers(part, 4) == [[0, 1, 2, 3], [4, 5, 6]]


@BOTH
def test_a_part_moves_with_its_split(make):
    part = part_of(make().train, 2, 5).to("cpu")
    assert len(part) == 3 and numbers(part, 9) == [[2, 3, 4]]


@BOTH
@pytest.mark.parametrize("start, stop", [(-1, 4), (4, 4), (5, 4), (0, 25), (24, 25)])
def test_examples_that_are_not_there_are_refused(make, start, stop):
    with pytest.raises(DataError, match=rf"^part: examples {start} to {stop} of 24 are none; ask for some"):
        part_of(make().train, start, stop)


@BOTH
def test_batches_that_are_none_are_refused_before_anything_is_drawn(make):
    part = part_of(make().train, 0, 5)
    with pytest.raises(SettingError, match="batch_size is 0"):
        part.epoch(0)
    with pytest.raises(SettingError, match="start"):
        part.epoch(2, start=-1)


def test_a_part_of_a_loader_says_that_it_cannot_shuffle():
    part = part_of(loader_task().train, 0, 5)
    assert isinstance(part, Part)
    with pytest.raises(SettingError, match="only stored order can be read"):
        part.epoch(2, order=torch.Generator())


def test_a_loader_is_not_drawn_from_beyond_the_part():
    drawn = []

    class Loader:
        def __iter__(self):
            for number in range(6):
                drawn.append(number)
                yield torch.full((4, 1, 1, 1), float(number)), torch.zeros(4, dtype=torch.int64)

    loader = Loader()
    split = from_loaders(loader, loader, loader, input_shape=(1, 1, 1), num_classes=3).train
    drawn.clear()
    assert [len(y) for _, y in part_of(split, 0, 8).epoch(4)] == [4, 4]
    assert drawn == [0, 1]


@BOTH
def test_the_first_of_a_split_and_the_split_itself_where_it_is_no_longer(make):
    split = make().val
    assert numbers(first_of(split, 2), 9) == [[0, 1]]
    assert first_of(split, 24) is split and first_of(split, 1_000) is split


@BOTH
def test_the_test_split_is_halved_and_no_example_is_in_both(make):
    task = make()
    halved = choose_on_test(task)
    assert numbers(halved.val, 24) == [list(range(12))] and numbers(halved.test, 24) == [list(range(12, 24))]
    assert halved.train is task.train
    assert halved.fingerprint != task.fingerprint
    assert halved.fingerprint == choose_on_test(task).fingerprint


@BOTH
def test_of_an_odd_number_the_larger_half_is_told_and_one_alone_is_refused(make):
    task = make()
    odd = choose_on_test(replace(task, test=part_of(task.test, 0, 5)))
    assert (numbers(odd.val, 9), numbers(odd.test, 9)) == ([[0, 1]], [[2, 3, 4]])
    with pytest.raises(DataError, match="examples 0 to 0 of 1 are none"):
        choose_on_test(replace(task, test=part_of(task.test, 0, 1)))
