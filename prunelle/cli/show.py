"""What a person sees in the terminal: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from prunelle.recipes.experiment import Watch

LONGEST_ERROR = 1600
"""Characters; a file may bring a name of a megabyte."""


def command_line() -> str:
    """The line that was typed."""
    return "prunelle " + shlex.join(sys.argv[1:])


def print_json(values: object) -> None:
    print(json.dumps(values, indent=1, allow_nan=False))


def print_error(sentence: str) -> None:
    """One line, whatever names a hostile file brought: what a terminal would obey is shown as an escape."""
    line = " ".join(sentence.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
    if len(shown) > LONGEST_ERROR:
        shown = f"{shown[: LONGEST_ERROR - 400]} ... {shown[-400:]}"
    print(f"prunelle: {shown}", file=sys.stderr)


@contextmanager
def progress() -> Iterator[Watch]:
    """A bar on stderr; silent where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(line, description=what, completed=share)


def print_rows(rows: list[dict]) -> None:
    """The headline table: medians and spread over seeds, a line per run and variant."""
    from prunelle.report.headline import headline

    shown = headline(rows)
    table = Table()
    for column in shown.columns:
        table.add_column(Text(column.header), justify="right" if column.numeric else "left")
    for line in shown.lines:
        table.add_row(
            *(Text.assemble(cell.text, *(("\n", (cell.detail, "dim")) if cell.detail else ())) for cell in line)
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_outcome(summary: str, rows: list[dict], files: list[dict], as_json: bool, more: Mapping[str, Any]) -> None:
    """What came of an experiment: the table, a sentence a label, and the files. files: {what, path, bytes}. more: what
    the JSON holds besides."""
    if as_json:
        print_json({**more, "summary": summary, "rows": rows, "files": files})
        return
    print_rows(rows)
    print(summary)
    for file in files:
        print(f"{file['what']}: {file['path']} ({file['bytes']:,} bytes)")


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Lines of texts; columns of figures stand to the right."""
    lines = [list(row) for row in rows]
    table = Table(title=Text(title), title_justify="left")
    for number, header in enumerate(headers):
        figures = all(line[number][:1].isdigit() for line in lines)
        table.add_column(Text(header), justify="right" if figures else "left")
    for line in lines:
        table.add_row(*map(Text, line))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_pairs(title: str, pairs: list[tuple[str, str]]) -> None:
    """Names and values as a table."""
    table = Table(title=Text(title), show_header=False, title_justify="left")
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
