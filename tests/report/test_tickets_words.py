"""What was lost and saved in a search for tickets, worked out by hand."""

from prunelle.report import tickets_words as words
from prunelle.report.groups import Spread

from .ticket_rows import RETIRED, ROWS, row, skipped, three


def test_what_came_to_nothing():
    assert words.lost(ROWS) == ""
    one = [*ROWS, skipped("ticket", 0.01, 0, 0)]
    assert (
        words.lost(one) == "1 of 28 trainings was skipped, as the ticket before had no hope; they stand in no picture."
    )
    rows = [
        *ROWS,
        row("ticket", 0.1, 0, 0, 0.1, status="diverged"),
        skipped("ticket", 0.01, 0, 0),
        skipped("ticket", 0.01, 0, 1),
    ]
    assert words.lost(rows) == (
        "1 of 30 trainings diverged, and 2 were skipped, as the ticket before had no hope; they stand in no picture."
    )


def test_what_retirement_saved_and_cost():
    assert words.retirement({}, ROWS) == words.retirement(RETIRED, ROWS) == "No training was ended early."
    rows = [
        *ROWS,
        *three("ticket", 0.1, 0, 0.9, 0.9, 0.9, status="converged"),
        row("ticket", 0.1, 100, 0, 0.5, status="hopeless"),
    ]
    found = {
        "members": 4,
        "updates_saved": 500,
        "updates": 9500,
        "hours_saved": 0.5,
        "audited": 2,
        "accuracy_cost": 0.0002,
    }
    assert words.retirement(found, rows) == (
        "4 of 28 trainings were ended early (3 converged and 1 hopeless), which saved 5.0 % of the updates, 30.0 "
        "minutes of one worker’s time. What it cost: 2 trainings that would have left went on all the same, and ended "
        "+0.02 points of validation accuracy from where they would have left."
    )
    unknown = words.retirement(found | {"audited": 0, "accuracy_cost": None}, rows)
    assert unknown.endswith("What that cost in accuracy is not known: no training was let go on to tell.")


def test_another_metric_is_told_as_it_is():
    assert words.band(Spread(0.5, 0.25, 0.75, 3), "macro F1") == "0.5000 (0.2500 to 0.7500)"
