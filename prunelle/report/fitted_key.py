"""The colours of a search's pictures, and their legend."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report.plain import text
from prunelle.report.rows import Row

FAMILIES = {
    "dense": ("#5b6875", "nothing removed"),
    "zeros": ("#0072b2", "single weights to zero"),
    "channels": ("#d55e00", "channels removed"),
    "blocks": ("#009e73", "blocks removed"),
    "several": ("#a6498b", "several of these"),
}
BEYOND = "#b3261e"


def family(row: Row) -> str:
    """What was taken away, as one of FAMILIES; fewer bits a weight alone take nothing away.

    >>> family({"techniques": ["zeros", "int16"]}), family({"techniques": ["zeros", "channels"]})
    ('zeros', 'several')
    """
    found = [name for name in row["techniques"] if name in FAMILIES]
    return "several" if len(found) > 1 else found[0] if found else "dense"


def key(rows: Sequence[Row]) -> str:
    """The legend: the families that occur, then the marks."""
    present = {family(row) for row in rows}

    def item(shape: str, words: str) -> str:
        return f'<li><svg width="22" height="16" aria-hidden="true">{shape}</svg>{text(words)}</li>'

    items = [
        item(f'<circle cx="11" cy="8" r="5.5" fill="{color}"/>', words)
        for name, (color, words) in FAMILIES.items()
        if name in present
    ]
    pale = 'fill="#5b6875" fill-opacity="0.28" stroke="#5b6875"'
    items.append(item(f'<circle cx="11" cy="8" r="5" {pale}/>', "pale: breaks a limit"))
    items.append(item('<circle cx="11" cy="8" r="7" fill="none" stroke="#1f2933" stroke-width="2"/>', "chosen"))
    items.append(
        item('<path d="M11 1l7 7-7 7-7-7z" fill="#fff" stroke="#1f2933" stroke-width="1.6"/>', "dense network")
    )
    items.append(
        item('<path d="M2 13H11V4H21" fill="none" stroke="#7b8794" stroke-width="1.5"/>', "best accuracy for a cost")
    )
    items.append(item(f'<path d="M1 3h20v11H1z" fill="{BEYOND}" fill-opacity="0.1"/>', "beyond a limit"))
    return f'<ul class="key">{"".join(items)}</ul>'
