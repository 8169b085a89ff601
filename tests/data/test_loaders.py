import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

from prunelle.data.loaders import from_loaders
from prunelle.data.task import Preprocessing, Task
from prunelle.errors import DataError, SettingError


def dataset(num: int = 11) -> TensorDataset:
    return TensorDataset(torch.arange(float(num)).view(num, 1, 1, 1), torch.arange(num) % 3)


def wrap(train=None, **kwargs) -> Task:
    other = DataLoader(dataset(), batch_size=4)
    return from_loaders(other if train is None else train, other, other, input_shape=(1, 1, 1), num_classes=3, **kwargs)


def values(split, batch_size: int, **kwargs) -> list[list[float]]:
    return [x.flatten().tolist() for x, _ in split.epoch(batch_size, **kwargs)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 8, 11, 20])
def test_regrouped_to_the_size_asked_for(batch_size: int) -> None:
    expected = [list(chunk) for chunk in torch.arange(11.0).split(batch_size)]
    assert values(wrap().train, batch_size) == [[float(v) for v in chunk] for chunk in expected]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(1, 1, 1), torch.tensor(0))] * 5)


@pytest.mark.parametrize(
    ("loader", "num"),
    [
        (DataLoader(dataset(), batch_size=4), 11),
        (DataLoader(dataset(), batch_size=4, drop_last=True), 8),
        (DataLoader(dataset(), batch_size=4, sampler=SubsetRandomSampler(range(5))), 5),
        (DataLoader(dataset(), batch_sampler=[[0, 1], [2]]), 3),
        (DataLoader(Stream(), batch_size=2), 5),
        ([(torch.zeros(2, 1, 1, 1), torch.zeros(2).long())] * 3, 6),
    ],
)
def test_length_is_what_it_yields(loader, num: int) -> None:
    split = wrap(loader).train
    assert len(split) == num == sum(len(y) for _, y in split.epoch(3))


def test_what_the_task_says() -> None:
    task = wrap(name="mine", class_names=("a", "b", "c"))
    assert task.name == "mine" and task.class_names == ("a", "b", "c")
    assert torch.equal(task.preprocessing(torch.ones(1, 1, 2, 2)), torch.ones(1, 1, 2, 2))
    assert wrap(preprocessing=Preprocessing((0.5,), (0.5,))).preprocessing.mean == (0.5,)
    assert wrap(name="mine").fingerprint == task.fingerprint != wrap(name="other").fingerprint


def test_float_targets_are_no_classes() -> None:
    batches = [(torch.zeros(2, 1, 1, 1, dtype=torch.float64), torch.tensor([7.5, -1.0]))]
    inputs, targets = next(wrap(batches).train.epoch(2))
    assert inputs.dtype == torch.float32 and targets.tolist() == [7.5, -1.0]


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (torch.zeros(2, 1, 1, 1), "yields Tensor, must be a pair"),
        ((torch.zeros(2, 1, 1, 1), [0, 1]), "must be a pair (inputs, targets) of tensors"),
        (
            (torch.zeros(2, 3, 1, 1), torch.zeros(2)),
            "inputs are torch.float32 (2, 3, 1, 1), must be floats (B, 1, 1, 1)",
        ),
        ((torch.zeros(2, 1, 1, 1).byte(), torch.zeros(2)), "inputs are torch.uint8"),
        ((torch.zeros(2, 1, 1, 1), torch.zeros(3)), "targets are (3,) for 2 inputs"),
        ((torch.zeros(2, 1, 1, 1), torch.tensor([0, 3])), "targets reach from 0 to 3, must lie in 0..2"),
    ],
)
def test_bad_batches(batch, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        list(wrap([batch]).train.epoch(2))
    assert str(caught.value).startswith("train loader: ") and sentence in str(caught.value)


def test_refusals() -> None:
    with pytest.raises(DataError, match="train loader: is an iterator"):
        wrap(iter(DataLoader(dataset())))
    with pytest.raises(DataError, match="train loader: yields no example"):
        wrap([])
    with pytest.raises(SettingError, match="batch_size is 0"):
        wrap().train.epoch(0)
