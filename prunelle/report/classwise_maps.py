"""The maps of classes against classes on the page of a class-wise network: how alike they are, and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report import cells
from prunelle.report.classwise_heat import MOST_CLASSES, Heat, heat
from prunelle.report.classwise_order import Order
from prunelle.report.classwise_scale import legend, scale_of
from prunelle.report.classwise_tables import confusion_table, confusions
from prunelle.report.classwise_words import wrong_words
from prunelle.report.plain import text
from prunelle.report.rows import number
from prunelle.report.speed import section

SIDE_BY_SIDE = 16
"""A map of so many classes leaves room for a table beside it."""
HINT = """<p class="hint">Test images, in the order of the groups, with lines between these; at the right the member’s
number. Blank: it never happened.</p>"""


def similarity_map(order: Order, similarity: Sequence[Sequence[float]], similarity_of: str) -> str:
    """The section. similarity: n x n in [-1, 1]. similarity_of: of what, a phrase."""
    title, names = "How alike the classes are", order.names
    if len(names) > MOST_CLASSES:
        return section("similarity", title, too_many(len(names)))
    values = [[number(value) for value in row] for row in similarity]
    others = [value for row, line in enumerate(values) for column, value in enumerate(line) if row != column]
    scale = scale_of(value for value in others if value is not None)

    def told(row: int, column: int) -> str:
        return f"{names[row]}, {names[column]}: {hundredths(similarity[row][column])}"

    label = f"similarity of classes, {similarity_of}"
    picture = heat(Heat(order, values, scale, hundredths, told, "", "", label))
    of = f"{similarity_of[:1].upper()}{similarity_of[1:]}. " if similarity_of else ""
    words = (
        f"{of}Classes stand in the order of their groups, with lines between these; at the right the member’s number."
    )
    body = f'<p class="hint">{text(words)}</p>{picture}{legend(scale, hundredths, "a class with itself")}'
    return section("similarity", title, body)


def confusion_map(order: Order, counts: Sequence[Sequence[int]], within: int, across: int) -> str:
    """The section. counts: n x n test images, row = true class. within, across: wrong answers in the right group and
    in another."""
    names = order.names
    said = f'<p class="said">{text(wrong_words(within, across))}</p>'
    picture = too_many(len(names)) if len(names) > MOST_CLASSES else wrong_answers(order, counts)
    found = confusions(counts, order)
    title = "The most frequent confusion" if len(found) == 1 else f"The {len(found)} most frequent confusions"
    table = f"<div><h3>{title}</h3>{confusion_table(found, order)}</div>" if found else ""
    look = ' class="pair"' if len(names) <= SIDE_BY_SIDE else ""
    hint = "" if len(names) > MOST_CLASSES else HINT
    body = f"{said}{hint}<div{look}>{picture}{table}</div>"
    return section("confusion", "Wrong answers within and across groups", body)


def wrong_answers(order: Order, counts: Sequence[Sequence[int]]) -> str:
    """The picture: right answers are grey, what never happened is blank."""
    names, totals = order.names, [sum(row) for row in counts]
    values = [
        [num if num or row == column else None for column, num in enumerate(line)] for row, line in enumerate(counts)
    ]
    wrong = [num for row, line in enumerate(counts) for column, num in enumerate(line) if row != column]
    scale = scale_of([0.0, *wrong])

    def told(row: int, column: int) -> str:
        answer = "answered right" if row == column else f"answered as {names[column]}"
        return f"{names[row]} {answer}: {counts[row][column]:,} of {totals[row]:,}"

    label = "test images by true class and answer, in the order of the groups"
    drawn = heat(Heat(order, values, scale, cells.count, told, "true class", "answer", label))
    return f"<figure>{drawn}{legend(scale, cells.count, 'answered right')}</figure>"


def too_many(num: int) -> str:
    return f'<p class="hint">{num:,} classes are too many for a map ({MOST_CLASSES} at most).</p>'


def hundredths(value: float) -> str:
    """
    >>> hundredths(-0.123), hundredths(-0.001)
    ('−0.12', '0.00')
    """
    return "0.00" if abs(value) < 0.005 else f"{value:.2f}".replace("-", "−")
