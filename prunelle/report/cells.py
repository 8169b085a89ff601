"""One value -> one table cell: the text in its unit, the exact value as a tooltip, and what to sort by."""

from dataclasses import dataclass
from typing import Any

from prunelle.report.groups import Spread
from prunelle.report.rows import number

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """text: as shown. detail: a second, smaller line. title: tooltip. sort: number to sort by, None = as text.

    missing: nothing was measured; it sorts last.
    """

    text: str
    detail: str = ""
    title: str = ""
    sort: float | None = None
    missing: bool = False


def significant(value: float, digits: int = 3) -> str:
    """At least `digits` significant digits, never in scientific notation above 1e-4, thousands separated.

    >>> significant(0.0123456), significant(1234.5), significant(2.5), significant(0)
    ('0.0123', '1,234', '2.50', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    leading = 0 if abs(value) >= 0.1 else 1 if abs(value) >= 0.01 else 2 if abs(value) >= 0.001 else 3
    return f"{value:,.{digits - whole + leading}f}"


def signed(value: float) -> str:
    """With its sign, to two places.

    >>> signed(0.5), signed(-0.5), signed(-0.001)
    ('+0.50', '−0.50', '0.00')
    """
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def count(value: float) -> str:
    return f"{value:,.0f}"


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def points(value: float) -> str:
    return "0.00" if abs(value) < 5e-5 else f"{100 * value:+.2f}".replace("-", "−")


def kilobytes(value: float) -> str:
    return f"{value / 1e3:,.1f}"


def millions(value: float) -> str:
    return significant(value / 1e6, 4)


def ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else significant(value, 2)


def sort_key(value: float) -> str:
    """The number to sort by as text that JavaScript reads; short, for a page has thousands of them."""
    return str(value) if isinstance(value, int) else f"{value:.8g}"


def exact(value: float, unit: str) -> str:
    """The tooltip: the unrounded value with its unit; empty without a unit, where the text already says it all."""
    if not unit:
        return ""
    text = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    return f"{text} {unit}"


def number_cell(value: Any, show, unit: str = "") -> Cell:
    """A single measured number, or a dash when it was not measured."""
    known = number(value)
    if known is None:
        return Cell(MISSING, missing=True)
    return Cell(show(known), title=exact(known, unit), sort=known)


def spread_cell(value: Spread | None, show, unit: str = "") -> Cell:
    """A median, with the smallest and the largest value below it where they differ from it when shown."""
    if value is None:
        return Cell(MISSING, missing=True)
    low, high = show(value.low), show(value.high)
    detail = f"{low} … {high}" if low != high else ""
    return Cell(show(value.median), detail, exact(value.median, unit), value.median)


def text_cell(value: Any) -> Cell:
    """A word; yes and no for truth values."""
    if value is None or value == "":
        return Cell(MISSING, missing=True)
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    return Cell(str(value))
