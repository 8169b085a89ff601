"""The race, run on a clock that is not the machine's."""

from collections.abc import Iterator

import pytest

from prunelle.measure.latency import Timing
from prunelle.ship import auto
from prunelle.ship.auto import after, fastest, is_tie


def timing(ratio: float, low: float, high: float, median: float = 1.0) -> Timing:
    return Timing(median, median, median, ratio, low, high, 1000, 1)


def race(monkeypatch: pytest.MonkeyPatch, looks: list[list[Timing]], names: str = "ab") -> auto.Decision:
    """What `fastest` decides when the timer gives these, look after look."""
    given: Iterator[list[Timing]] = iter(looks)
    efforts: list[int] = []

    def timer(fns: list, **settings: int) -> tuple[Timing, ...]:
        found = next(given)
        assert len(found) == len(fns)
        efforts.append(settings["min_samples"])
        return tuple(found)

    monkeypatch.setattr(auto, "time_interleaved", timer)
    decision = fastest({name: lambda: None for name in ["eager", *names]}, "eager")
    assert efforts == sorted(efforts) and list(given) == []
    return decision


FIRST = timing(1.0, 1.0, 1.0, 10.0)


def test_a_clear_winner_needs_one_look(monkeypatch):
    found = race(monkeypatch, [[FIRST, timing(10, 9, 11, 1.0), timing(5, 4, 6, 2.0)]])
    assert (found.winner, found.tied, found.looks) == ("a", (), 1)
    assert list(found.timings) == ["eager", "a", "b"]


def test_what_is_near_is_looked_at_until_decided(monkeypatch):
    looks = [
        [FIRST, timing(10, 9, 11, 1.0), timing(9.8, 9, 11, 1.02)],
        [timing(1, 1, 1), timing(1.005, 0.98, 1.03)],
        [timing(1, 1, 1), timing(1.01, 1.005, 1.015)],
    ]
    found = race(monkeypatch, looks)
    assert (found.winner, found.tied, found.looks) == ("b", (), 3)


def test_what_is_equal_ties(monkeypatch):
    looks = [
        [FIRST, timing(10, 9, 11, 1.0), timing(9.9, 9, 11, 1.01)],
        [timing(1, 1, 1), timing(1.001, 0.995, 1.006)],
    ]
    found = race(monkeypatch, looks)
    assert (found.winner, found.tied, found.looks) == ("a", ("b",), 2)


def test_eager_is_the_baseline_and_does_not_win(monkeypatch):
    found = race(monkeypatch, [[FIRST, timing(0.5, 0.4, 0.6, 20.0)]], "a")
    assert found.winner == "a"


def test_a_new_winner_is_not_called_a_tie_of_what_it_was_not_held_against():
    seen = {"b": timing(1.02, 1.01, 1.03), "c": timing(1.015, 1.005, 1.025), "d": timing(0.9, 0.89, 0.91)}
    assert after("a", seen) == ("b", ["c"])
    assert after("a", {"b": timing(0.98, 0.97, 0.99)}) == ("a", [])
    assert not is_tie(timing(1.0, 0.98, 1.005))


def test_real_callables_are_told_apart():
    def slow() -> int:
        return sum(range(20_000))

    def quick() -> int:
        return sum(range(2_000))

    found = fastest({"eager": slow, "slow": slow, "quick": quick}, "eager", min_seconds=0.05, min_samples=30)
    assert found.winner == "quick" and found.looks == 1
