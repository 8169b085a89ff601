"""What a search for tickets found, in sentences: which one won, how sparse it is, what it beats and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prunelle.report.fitted_words import TOP1
from prunelle.report.rows import Row
from prunelle.report.tickets_held import Held
from prunelle.report.tickets_words import NAMES, band, gain, listed, one_in, origin, share, spread_of

Below = Literal["no", "perhaps", "surely"]
ON_TEST = {
    "no": "",
    "perhaps": " on the validation split, which the test split does not confirm",
    "surely": " on the validation split, but not on the test split",
}


def verdict(winner: Row | None, held: Sequence[Held], below: Below = "no") -> str:
    """Which ticket won and whether it is worth the name, in one sentence. below: as `below_on_test`."""
    if winner is None:
        return "No ticket was trained to its end, so there is none to name."
    kept = share(winner["kept"])
    if not winner["matches"]:
        return f"No ticket matches the dense network; the best one keeps {kept} of the weights."
    first = f"The winning ticket keeps {kept} of the weights"
    doubt = below != "no"
    matches = f"matches the dense network{ON_TEST[below]}"
    if not held:
        return f"{first} and {matches}; no control was trained beside it."
    if all(one.clear for one in held):
        least = "at least " if len(held) > 1 else ""
        lead = min(one.lead for one in held if one.lead is not None)
        beats = f"beats {every(held)} by {least}{100 * lead:.2f} points."
        return f"{first} and {matches}; it {beats}" if doubt else f"{first}, {matches} and {beats}"
    if all(one.ahead and one.own.num == 1 for one in held if one.own) and any(one.own for one in held):
        return f"{first} and {matches}; it is ahead of {every(held)}, but with a single seed."
    unsure = [NAMES[one.control] for one in held if not one.clear]
    return f"{first} and {matches}{'; ' if doubt else ', but '}it does not clearly beat {listed(unsure)}."


def every(held: Sequence[Held]) -> str:
    return "every control" if len(held) > 1 else NAMES[held[0].control]


def reached(winner: Row, point: Row, epoch: float | None, dense: Row, metric: str = TOP1) -> str:
    """Where the ticket comes from and how accurate it is on the test split. point: the winner's."""
    kinds = {"lr": "its learning rate rewound to", "finetune": "fine-tuned for as long as from"}
    update = f" (update {winner['rewind']:,})" if winner["rewind"] and epoch is not None else ""
    mean = "on average " if point["num_seeds"] > 1 else ""
    own = f"{band(spread_of(point), metric)}, " + (
        "one seed" if point["num_seeds"] < 2 else f"{point['num_seeds']} seeds"
    )
    return (
        f"It keeps {one_in(winner['kept'])}, {kinds.get(winner['variant'], 'rewound to')} "
        f"{origin(winner['rewind'], epoch)}{update}. On the test split it reaches {own}, the dense network "
        f"{band(spread_of(dense), metric)}: {mean}a change of {gain(point)} points."
    )


def chosen(winner: Row, within: float) -> str:
    """By what it was chosen."""
    if winner["matches"]:
        return (
            "It was chosen on the validation split: of all tickets whose median there is at most "
            f"{100 * within:g} points below that of the dense network, it keeps least."
        )
    return (
        f"On the validation split no median is at most {100 * within:g} points below that of the dense network; this "
        "one is the best there."
    )


def below_on_test(point: Row, within: float) -> Below:
    """Whether the mean change on the test split is further below the dense network than what matches, or the whole of
    its interval.

    >>> below_on_test({"gain": -0.004, "gain_high": -0.002, "num_seeds": 3}, 0.001)
    'surely'
    """
    limit = -within - 1e-9
    if point["gain"] >= limit:
        return "no"
    return "surely" if point["num_seeds"] > 1 and point["gain_high"] < limit else "perhaps"


def against(held: Sequence[Held], metric: str = TOP1) -> list[str]:
    """What it beats and by how much, a sentence a degree of certainty."""
    found = []
    if clear := [one for one in held if one.clear]:
        found.append(f"It beats {leads(clear, metric)}; {worst(clear)}.")
    for one in held:
        if one.clear:
            continue
        name = NAMES[one.control]
        if one.own is None or one.other is None or one.lead is None:
            found.append(f"It cannot be held against {name}: no such training of the same seed came to its end.")
        elif one.own.num == 1 and one.ahead:
            found.append(f"It is ahead of {leads([one], metric)}, but one seed cannot tell that from chance.")
        elif one.ahead:
            found.append(f"It is ahead of {leads([one], metric)}, but the ranges of the seeds overlap.")
        else:
            size = "equal to" if abs(one.lead) < 5e-6 else f"{-100 * one.lead:.2f} points below"
            found.append(f"It is {size} {name}, {band(one.other, metric)}.")
    if early := [one for one in held if one.ended_early]:
        told = listed([f"{one.ended_early} of {NAMES[one.control]}" for one in early])
        found.append(f"Some of these controls were ended early ({told}) and might have come closer.")
    return found


def leads(held: Sequence[Held], metric: str) -> str:
    """Names, figures and leads of controls."""
    told = [(one, one.other, one.lead) for one in held]
    return listed(
        [
            f"{NAMES[one.control]} by {100 * lead:.2f} points ({band(other, metric).replace(' (', ', ').rstrip(')')})"
            for one, other, lead in told
            if other is not None and lead is not None
        ]
    )


def worst(clear: Sequence[Held]) -> str:
    """Why that is more than chance."""
    number = min(one.own.num for one in clear if one.own)
    return f"its worst of {number} seeds is above their best"
