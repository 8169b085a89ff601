"""The verdict on a search for tickets and the sentences behind it, each worked out by hand."""

import pytest

from prunelle.report import tickets_verdict as verdict
from prunelle.report.groups import Spread
from prunelle.report.tickets_held import Held, held_against

from .ticket_rows import ROWS, WINNER, points_of

POINTS = points_of(ROWS)
POINT = next(one for one in POINTS if (one["variant"], one["kept"], one["rewind"]) == ("ticket", 0.04, 100))
DENSE = next(one for one in POINTS if one["variant"] == "dense")
CLEAR = Held("random", Spread(0.98, 0.979, 0.981, 3), Spread(0.97, 0.969, 0.971, 3))
WITHIN = Held("reinit", Spread(0.98, 0.979, 0.981, 3), Spread(0.978, 0.977, 0.980, 3))
BEHIND = Held("shuffled", Spread(0.98, 0.979, 0.981, 3), Spread(0.985, 0.984, 0.986, 3))
SINGLE = Held("random", Spread(0.98, 0.98, 0.98, 1), Spread(0.97, 0.97, 0.97, 1))
NEVER = Held("random", None, None)


MATCHES = "The winning ticket keeps 4 % of the weights and matches the dense network"
BEATS = "The winning ticket keeps 4 % of the weights, matches the dense network and beats"


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([CLEAR], f"{BEATS} random masks by 1.00 points."),
        (held_against(ROWS, WINNER), f"{BEATS} every control by at least 0.45 points."),
        ([CLEAR, WITHIN], f"{MATCHES}, but it does not clearly beat fresh weights."),
        ([WITHIN, NEVER, CLEAR], f"{MATCHES}, but it does not clearly beat fresh weights and random masks."),
        ([SINGLE], f"{MATCHES}; it is ahead of random masks, but with a single seed."),
        ([NEVER], f"{MATCHES}, but it does not clearly beat random masks."),
        ([], f"{MATCHES}; no control was trained beside it."),
    ],
)
def test_verdicts(held, told):
    assert verdict.verdict(WINNER, held) == told


def test_a_ticket_that_is_below_on_test_is_not_said_to_match():
    told = f"{MATCHES} on the validation split, but not on the test split"
    assert verdict.verdict(WINNER, [CLEAR], below="surely") == f"{told}; it beats random masks by 1.00 points."
    assert verdict.verdict(WINNER, [WITHIN], below="surely") == f"{told}; it does not clearly beat fresh weights."
    perhaps = f"{MATCHES} on the validation split, which the test split does not confirm"
    assert verdict.verdict(WINNER, [CLEAR], below="perhaps") == f"{perhaps}; it beats random masks by 1.00 points."
    assert verdict.verdict(WINNER, [], below="surely") == f"{told}; no control was trained beside it."


def test_nothing_matched_or_trained():
    told = "No ticket matches the dense network; the best one keeps 4 % of the weights."
    assert verdict.verdict(WINNER | {"matches": False}, [CLEAR]) == told
    assert verdict.verdict(None, []) == "No ticket was trained to its end, so there is none to name."


def test_where_it_comes_from_and_how_accurate_it_is():
    # Gains +0.05, -0.05, +0.15: mean 0.05, deviation 0.1, 4.303 * 0.1 / sqrt(3) = 0.248.
    assert verdict.reached(WINNER, POINT, 0.5, DENSE) == (
        "It keeps 1 weight in 25, rewound to epoch 0.5 (update 100). On the test split it reaches 98.05 % (98.05 to "
        "98.35), 3 seeds, the dense network 98.10 % (98.00 to 98.20): on average a change of +0.05 ± 0.25 points."
    )
    late = verdict.reached(WINNER | {"variant": "lr", "rewind": 0}, POINT, 0.0, DENSE)
    assert late.startswith("It keeps 1 weight in 25, its learning rate rewound to initialisation. On")


def test_one_seed_has_no_interval():
    found = points_of([one for one in ROWS if one["seed"] == 2])
    own = next(one for one in found if (one["variant"], one["kept"], one["rewind"]) == ("ticket", 0.04, 100))
    assert verdict.reached(WINNER, own, None, found[0]).endswith(
        "rewound to update 100. On the test split it reaches 98.35 %, one seed, the dense network 98.20 %: a change of "
        "+0.15 points."
    )


def test_how_it_was_chosen():
    assert verdict.chosen(WINNER, 0.001).endswith("at most 0.1 points below that of the dense network, it keeps least.")
    assert verdict.chosen(WINNER | {"matches": False}, 0.001).startswith(
        "On the validation split no median is at most 0.1 points"
    )


def test_whether_it_is_below_on_test():
    point = POINT | {"gain": -0.004, "gain_low": -0.006, "gain_high": -0.002}
    assert verdict.below_on_test(point, 0.001) == "surely" and verdict.below_on_test(POINT, 0.001) == "no"
    assert verdict.below_on_test(point | {"num_seeds": 1}, 0.001) == "perhaps"
    assert verdict.below_on_test(point | {"gain_high": 0.0}, 0.001) == "perhaps"
    assert verdict.below_on_test(point | {"gain": -0.001}, 0.001) == "no", "a tenth of a point still matches"


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (
            CLEAR,
            "It beats random masks by 1.00 points (97.00 %, 96.90 to 97.10); its worst of 3 seeds is above their best.",
        ),
        (
            WITHIN,
            "It is ahead of fresh weights by 0.20 points (97.80 %, 97.70 to 98.00), but the ranges of the seeds "
            "overlap.",
        ),
        (BEHIND, "It is 0.50 points below shuffled masks, 98.50 % (98.40 to 98.60)."),
        (SINGLE, "It is ahead of random masks by 1.00 points (97.00 %), but one seed cannot tell that from chance."),
        (NEVER, "It cannot be held against random masks: no such training of the same seed came to its end."),
    ],
)
def test_what_it_beats(held, told):
    assert verdict.against([held]) == [told]
    assert verdict.against([]) == []


def test_controls_that_were_ended_early_are_named():
    early = Held("random", CLEAR.own, CLEAR.other, ended_early=2)
    assert (
        verdict.against([early])[-1]
        == "Some of these controls were ended early (2 of random masks) and might have come closer."
    )
