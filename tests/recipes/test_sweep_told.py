"""What is said of the winning ticket."""

from types import SimpleNamespace
from typing import Any

import pytest

from prunelle.recipes.sweep_told import winner_sentence
from prunelle.tickets.grid import Member
from prunelle.tickets.results import Winner


def found(seeds: int, matches: bool = True, gain: float = 0.0) -> Any:
    """Tickets of .90 in the median; the one saved has .95. gain: on the test split, give or take a hundredth."""
    best = Winner(Member(1, 0.2, 7, "ticket"), matches)
    points = [
        {"variant": "dense", "rewind": 0, "kept": 1.0, "num_seeds": seeds, "test_top1": 0.93},
        {"variant": "random", "rewind": 7, "kept": 0.2, "num_seeds": seeds, "test_top1": 0.5},
        {"variant": "ticket", "rewind": 7, "kept": 0.2, "num_seeds": seeds, "test_top1": 0.90}
        | {"gain": gain, "gain_high": gain + 0.01},
    ]
    swept = SimpleNamespace(cards={best.member: {"found": {"test_top1": 0.95}}})
    return SimpleNamespace(best=best, points=points, swept=swept)


def test_the_median_of_the_seeds_is_told_beside_the_median_of_the_dense_networks() -> None:
    assert winner_sentence(found(3)) == (
        "the ticket with 20.0 % of the weights, rewound to update 7, matches the dense networks on val: 90.00 % on "
        "test in the median of 3 seeds, dense 93.00 %; saved is that of seed 1, 95.00 %."
    )


@pytest.mark.parametrize(("matches", "words"), [(True, "matches"), (False, "is the best, but does not match")])
def test_of_one_seed_there_is_no_median(matches: bool, words: str) -> None:
    said = winner_sentence(found(1, matches))
    assert said.endswith(f"update 7, {words} the dense networks on val: 90.00 % on test, dense 93.00 %.")


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (-0.0009, "dense 93.00 %;"),
        (-0.005, "which does not confirm the match;"),
        (-0.02, "which contradicts the match;"),
    ],
)
def test_the_test_split_has_its_say(gain: float, words: str) -> None:
    # A match is at most .001 below; of -.005 +- .01 nobody knows, -.02 +- .01 is below.
    assert words in winner_sentence(found(3, gain=gain))
    assert "confirm" not in winner_sentence(found(3, False, gain)) and "contradicts" not in winner_sentence(
        found(3, False)
    )


def test_without_a_ticket_none_is_named() -> None:
    assert winner_sentence(SimpleNamespace(best=None)) == "no ticket stands: every training diverged or was skipped."  # type: ignore[arg-type]
