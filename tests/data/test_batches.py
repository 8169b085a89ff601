import pytest
import torch

from prunelle.data.batches import batches
from prunelle.errors import SettingError


def lists(*args, **kwargs) -> list[tuple[int, list[int]]]:
    return [(number, pick.tolist()) for number, pick in batches(*args, **kwargs)]


def test_stored_order_and_short_last_batch() -> None:
    assert lists(5, 2) == [(0, [0, 1]), (1, [2, 3]), (2, [4])]
    assert lists(5, 2, drop_last=True) == [(0, [0, 1]), (1, [2, 3])]
    assert lists(4, 2, drop_last=True) == [(0, [0, 1]), (1, [2, 3])]
    assert lists(1, 2, drop_last=True) == [(0, [0])]
    assert lists(0, 2) == []


def test_start_keeps_numbers_and_draws_the_same_order() -> None:
    whole, tail = (lists(10, 3, order=torch.Generator().manual_seed(1), start=start) for start in (0, 2))
    assert whole[2:] == tail and [number for number, _ in tail] == [2, 3]
    assert sorted(index for _, pick in whole for index in pick) == list(range(10))
    assert lists(10, 3, start=9) == []


def test_the_generator_ends_where_it_would_whatever_the_start() -> None:
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    batches(10, 3, order=one), batches(10, 3, order=two, start=3)
    assert torch.equal(one.get_state(), two.get_state())


def test_refusals() -> None:
    with pytest.raises(SettingError, match="batch_size is 0, must be at least 1"):
        batches(5, 0)
    with pytest.raises(SettingError, match="start is -1"):
        batches(5, 1, start=-1)
