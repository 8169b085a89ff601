"""Tables that a click on a heading sorts, on pages of plain HTML; `sort.js` does it."""

from __future__ import annotations

from prunelle.report.cells import Cell, sort_key
from prunelle.report.plain import text
from prunelle.report.tables import Column, Table


def sortable(table: Table, key: str) -> str:
    """The table as HTML, complete without a script. key: its id."""
    heads = "".join(map(heading, table.columns))
    body = []
    for line, mark in zip(table.lines, table.marks, strict=True):
        cells = "".join(cell_html(cell, column) for cell, column in zip(line, table.columns, strict=True))
        body.append(f"<tr{f' class={mark}' if mark else ''}>{cells}</tr>\n")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(key)} table">'
        f'<table id="{text(key)}" class="sortable"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def heading(column: Column) -> str:
    look = ' class="num"' if column.numeric else ""
    title = f' title="{text(column.title)}"' if column.title else ""
    return f'<th scope="col"{look}{title} aria-sort="none"><button type="button">{text(column.header)}</button></th>'


def cell_html(cell: Cell, column: Column) -> str:
    look = " class=num" if column.numeric else ""
    title = f' title="{text(cell.title)}"' if cell.title else ""
    order = f' data-sort="{sort_key(cell.sort)}"' if cell.sort is not None else ' data-sort=""' if cell.missing else ""
    detail = f"<small>{text(cell.detail)}</small>" if cell.detail else ""
    return f"<td{look}{title}{order}>{text(cell.text)}{detail}</td>"
