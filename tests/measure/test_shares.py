import pytest
import torch

from prunelle.measure import shares as module
from prunelle.measure.shares import Shares


def test_time_is_added_up_by_name(monkeypatch):
    ticks = iter([0.0, 1.0, 1.5, 10.0, 10.25, 12.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    seconds: dict[str, float] = {"data": 1.0}
    shares = Shares(torch.device("cpu"), seconds)
    shares.mark("data")  # 1.0
    shares.mark("compute")  # 0.5
    shares.restart()  # what lies between is not counted
    shares.mark("data")  # 0.25
    shares.mark("rest")  # 1.75
    assert seconds == pytest.approx({"data": 2.25, "compute": 0.5, "rest": 1.75})
    assert shares.shares() == {"data": 0.5, "compute": 0.1111, "rest": 0.3889}


def test_before_the_first_mark_there_are_none():
    assert Shares(torch.device("cpu"), {}).shares() == {}
