"""What a search leaves to read: the frontier as CSV and JSON, and the page."""

from __future__ import annotations

from prunelle.fit.outcome import Outcome, Place


def write_pages(outcome: Outcome, place: Place) -> None:
    """frontier.csv, frontier.json and report.html in place.out."""
