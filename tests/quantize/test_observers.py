import pytest
import torch

from prunelle.errors import SettingError
from prunelle.quantize.observers import MinMax, Percentile

BATCHES = [torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([-1.0, 7.0])]


def seen(observer) -> list[float]:
    return observer.join(torch.stack([observer.look(batch) for batch in BATCHES])).tolist()


def test_min_max_keeps_the_ends_of_all_batches():
    assert seen(MinMax()) == [-2.0, 7.0]


def test_percentile_averages_the_ends_of_batches():
    assert seen(Percentile(100)) == [-1.5, 5.0]


@pytest.mark.parametrize(("percent", "out"), [(100, 0), (99, 5), (98, 10), (60, 200)])
def test_percentile_leaves_as_many_out_at_each_end(percent, out):
    torch.manual_seed(0)
    values = torch.randperm(1000).float().view(10, 100)
    assert Percentile(percent).look(values).tolist() == [out, 999 - out]


@pytest.mark.parametrize("percent", [50, 101, 0])
def test_other_percentiles_are_refused(percent):
    with pytest.raises(SettingError, match=rf"percentile: is {percent}, must be above 50 and at most 100"):
        Percentile(percent)
