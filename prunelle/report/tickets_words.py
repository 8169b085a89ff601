"""The words of a search for tickets: names, shares, rewinding points, figures, what was lost and what was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prunelle.report.cells import points
from prunelle.report.fitted_words import TOP1, score
from prunelle.report.groups import Spread
from prunelle.report.rows import Row

NAMES = {
    "dense": "dense network",
    "ticket": "tickets",
    "random": "random masks",
    "shuffled": "shuffled masks",
    "reinit": "fresh weights",
    "lr": "learning rate rewound",
    "finetune": "fine-tuned",
    "twin": "twins",
}
ONE = NAMES | {"ticket": "ticket", "random": "random mask", "shuffled": "shuffled mask", "twin": "twin"}
MEANINGS = {
    "ticket": "the largest weights are kept, and go back to the values they had at the rewinding point",
    "random": "the same weights, but in every layer as many kept at random",
    "shuffled": "the ticket’s mask with its places shuffled within every unit",
    "reinit": "the ticket’s mask on freshly drawn weights, trained from the start",
    "lr": "the weights stay as trained, only the learning rate goes back",
    "finetune": "the weights stay as trained and go on at a small constant rate",
    "twin": "the ticket again with another order of the data, for the error barrier",
}


def share(kept: float) -> str:
    """
    >>> share(0.036), share(0.5), share(0.01234)
    ('3.6 %', '50 %', '1.23 %')
    """
    return f"{100 * kept:.3g} %"


def one_in(kept: float) -> str:
    """
    >>> one_in(0.036), one_in(0.5), one_in(0.3)
    ('1 weight in 28', '1 weight in 2', '1 weight in 3.3')
    """
    return f"1 weight in {1 / kept:.0f}" if kept <= 0.1 else f"1 weight in {1 / kept:.2g}"


def origin(rewind: int, epoch: float | None) -> str:
    """A rewinding point.

    >>> origin(0, 0.0), origin(234, 0.5), origin(234, None)
    ('initialisation', 'epoch 0.5', 'update 234')
    """
    if rewind == 0:
        return "initialisation"
    return f"update {rewind:,}" if epoch is None else f"epoch {epoch:.3g}"


def band(value: Spread, metric: str = TOP1) -> str:
    """A median and the range of its seeds.

    >>> band(Spread(0.98, 0.97, 0.99, 3)), band(Spread(0.98, 0.98, 0.98, 1))
    ('98.00 % (97.00 to 99.00)', '98.00 %')
    """
    middle, low, high = (score(v, metric) for v in (value.median, value.low, value.high))
    return (
        middle if value.num < 2 or low == high else f"{middle} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
    )


def spread_of(point: Row) -> Spread:
    """Of a point's test accuracy."""
    return Spread(point["test_top1"], point["test_top1_low"], point["test_top1_high"], point["num_seeds"])


def seeds(number: int) -> str:
    return "a single seed" if number == 1 else f"{number} seeds"


def gain(point: Row) -> str:
    """The change against the dense network in points, with its 95 % interval.

    >>> gain({"gain": -0.0003, "gain_low": -0.0011, "gain_high": 0.0005, "num_seeds": 5})
    '−0.03 ± 0.08'
    """
    half = (point["gain_high"] - point["gain_low"]) / 2
    return points(point["gain"]) + (f" ± {100 * half:.2f}" if point["num_seeds"] > 1 else "")


def listed(words: Sequence[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def lost(rows: Sequence[Row]) -> str:
    """What came of no use, '' where all did."""
    diverged, skipped = (sum(row["status"] == word for row in rows) for word in ("diverged", "skipped"))
    told = []
    if diverged:
        told.append(f"{diverged:,} of {len(rows):,} trainings diverged")
    if skipped:
        number = f"{skipped:,}" if diverged else f"{skipped:,} of {len(rows):,} trainings"
        told.append(f"{number} {'was' if skipped == 1 else 'were'} skipped, as the ticket before had no hope")
    return f"{', and '.join(told)}; they stand in no picture." if told else ""


def retirement(found: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """What ending trainings early saved and what it cost."""
    if not found.get("members"):
        return "No training was ended early."
    reasons = {word: sum(row["status"] == word for row in rows) for word in ("converged", "hopeless")}
    why = listed([f"{number:,} {word}" for word, number in reasons.items() if number])
    part = found["updates_saved"] / max(1, found["updates_saved"] + found["updates"])
    number = f"{found['members']:,} of {sum(row['variant'] != 'dense' for row in rows):,} trainings"
    saved = (
        f"{number} {'was' if found['members'] == 1 else 'were'} ended early{f' ({why})' if why else ''}, which saved "
        f"{100 * part:.1f} % of the updates, {duration(3600 * found['hours_saved'])} of one worker’s time."
    )
    if found.get("accuracy_cost") is None:
        return f"{saved} What that cost in accuracy is not known: no training was let go on to tell."
    going = "training" if found["audited"] == 1 else "trainings"
    return (
        f"{saved} What it cost: {found['audited']} {going} that would have left went on all the same, and ended "
        f"{points(found['accuracy_cost'])} points of validation accuracy from where they would have left."
    )


def duration(seconds: float) -> str:
    """
    >>> duration(0.5), duration(45), duration(1500), duration(9000)
    ('0.5 seconds', '45 seconds', '25.0 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.2g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"
