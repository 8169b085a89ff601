"""The tables of what a search found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prunelle.report.cells import MISSING, kilobytes, significant
from prunelle.report.fitted_words import Limit, change, done_to, file_in_words, score
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.tables import Table

Lines = Iterable[tuple[str, Sequence[str]]]
"""(class of the row, its cells)."""
BLANK = ' data-sort=""'
"""Of a cell without content: left out of a card."""


def grid(heads: Sequence[str], lines: Lines, stacked: bool = True) -> str:
    """A table. Heads with # before them are of figures; cells are HTML. stacked: rows are cards on a narrow screen."""
    names = [head.removeprefix("#") for head in heads]
    looks = [' class="num"' if head.startswith("#") else "" for head in heads]
    top = "".join(f'<th scope="col"{look}>{text(name)}</th>' for look, name in zip(looks, names, strict=True))
    body = []
    for mark, found in lines:
        cells = [
            f'<td{look} data-label="{text(name)}"{"" if cell else BLANK}>{cell or MISSING}</td>'
            for look, name, cell in zip(looks, names, found, strict=True)
        ]
        body.append(f"<tr{f' class={mark}' if mark else ''}>{''.join(cells)}</tr>")
    body_html = "".join(body)
    look = "scroll stacked" if stacked else "scroll"
    return f'<div class="{look}"><table><thead><tr>{top}</tr></thead><tbody>{body_html}</tbody></table></div>'


def cells_table(table: Table) -> str:
    """A report table as a plain one."""
    heads = [f"#{one.header}" if one.numeric else one.header for one in table.columns]
    return grid(heads, (("", [text(cell.text) for cell in line]) for line in table.lines), stacked=False)


def small(words: str) -> str:
    return f"<small>{text(words)}</small>"


def named(row: Row) -> str:
    """What was done, and below it the file."""
    chosen = " <b class=tag>chosen</b>" if row["chosen"] else ""
    words = text(file_in_words(row))
    return f'{text(done_to(row))}<small title="{words}">{text(row["file"])}{chosen}</small>'


def accuracy(row: Row, metric: str) -> str:
    return f"{text(score(row['val_top1'], metric))}{small(change(row['drop'], row['drop_error']))}"


def time(row: Row) -> str:
    return f"{significant(row['median_ms'])}{small(significant(row['share']) + ' × dense')}"


def share(row: Row) -> str:
    low, high = significant(row["share_low"]), significant(row["share_high"])
    return f"{significant(row['share'])} × dense" + (f" ({low} to {high})" if low != high else "")


def size(row: Row) -> str:
    return kilobytes(row["size_bytes"])


def kept(row: Row, limits: Sequence[Limit]) -> str:
    """yes, or which limits are missed and by how much."""
    missed = [f"{one.what} {told}" for one in limits if (told := one.times(row))]
    if not missed:
        return '<span class="good">✓ yes</span>'
    return '<span class="bad">✗ no</span>' + "".join(small(told) for told in missed)


def beside(dense: Row, chosen: Row, test: Mapping[str, Any], limits: Sequence[Limit], metric: str) -> str:
    """The dense network and the chosen file, figure by figure."""

    def tested(value: float, interval: Any) -> str:
        shown = text(score(value, metric))
        return shown + (small(f"{score(interval[0], metric)} to {score(interval[1], metric)}") if interval else "")

    on_test = {**chosen, "drop": test["drop"]}
    word = {one.what: kept(on_test, [one]) + small(one.told) for one in limits}
    ms = text(significant(chosen["median_ms"])) + small(share(chosen))
    lines = [
        (f"{metric} on the test split", tested(test["top1_dense"], test.get("interval_dense")),
         tested(test["top1"], test.get("interval")) + small(f"{change(test['drop'], test.get('drop_error'))} points"),
         word.get("accuracy", "no limit")),
        ("time of one image, ms", figure(dense.get("median_ms"), significant), ms, word.get("time", "no limit")),
        ("size, KB", figure(dense.get("size_bytes"), kilobytes) + small(dense.get("size_of") or ""), size(chosen),
         word.get("size", "no limit")),
        ("parameters", figure(dense.get("params"), count), figure(chosen.get("params"), count), ""),
        ("of these not zero", figure(dense.get("nnz"), count), figure(chosen.get("nnz"), count), ""),
    ]  # fmt: skip
    heads = ("", "#dense network", "#chosen file", "limit kept?")
    return grid(heads, (("", (text(what), *cells)) for what, *cells in lines))


def figure(value: Any, show: Any) -> str:
    return MISSING if number(value) is None else text(show(value))


def count(value: float) -> str:
    return f"{value:,.0f}"


def alone(rows: Sequence[Row], limits: Sequence[Limit], metric: str) -> str:
    """A row a technique that was used alone: its best file; the chosen one first. rows: the best first."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["status"] == "fit" and len(row["techniques"]) <= 1:
            found.setdefault("".join(row["techniques"]) or "nothing removed, another runtime", row)
    chosen = next(row for row in rows if row["chosen"])
    lines = [("winner", ("the chosen file", *figures(chosen, limits, metric)))]
    lines += [("", (text(name), *figures(row, limits, metric))) for name, row in found.items()]
    return grid(("technique", *FIGURES), lines)


def never_alone(rows: Sequence[Row]) -> list[str]:
    """Techniques that no file used alone."""
    single = {row["techniques"][0] for row in rows if row["status"] == "fit" and len(row["techniques"]) == 1}
    every = {name for row in rows if row["status"] == "fit" for name in row["techniques"]}
    return sorted(every - single)


FIGURES = ("what was done, file", "#accuracy, change ± error", "#ms", "#KB", "keeps all limits?")


def figures(row: Row, limits: Sequence[Limit], metric: str) -> tuple[str, ...]:
    return named(row), accuracy(row, metric), time(row), size(row), kept(row, limits)


def frontier(rows: Sequence[Row], limits: Sequence[Limit], metric: str) -> str:
    """The files that no other beats, and how each is made again."""
    lines = []
    for row in rows:
        where = f"<code>{text(row['path'])}</code>" if row.get("path") else ""
        again = f"<details><summary>its command</summary><code>{text(row['command'])}</code></details>"
        lines.append(("winner" if row["chosen"] else "", (*figures(row, limits, metric), where + again)))
    return grid((*FIGURES, "where it lies"), lines)


def tried(rows: Sequence[Row], limits: Sequence[Limit], metric: str) -> str:
    """Everything, with the reason where no file came of it."""
    lines = []
    for row in rows:
        if row["status"] == "fit":
            cells = (
                *figures(row, limits, metric),
                "on the frontier: none beats it in all" if row["front"] else "measured",
            )
        else:
            cells = (named(row), "", "", "", "", f"{text(row['status'])}{small(row['why'])}")
        lines.append(("winner" if row["chosen"] else "" if row["status"] == "fit" else "out", cells))
    return grid((*FIGURES, "what came of it"), lines)


def misses(nearest: Mapping[str, Row], limits: Sequence[Limit], metric: str) -> str:
    """The file that comes nearest to each limit while it keeps the others, where one does."""
    found: dict[str, tuple[list[Limit], Row]] = {}
    for one in limits:
        row = nearest.get("ms" if one.key == "share" else one.key)
        if row is not None:
            found.setdefault(row["id"], ([], row))[0].append(one)
    lines = [
        ("", ("".join(f"{one.what}{small(one.told)}" for one in own), *figures(row, limits, metric)))
        for own, row in found.values()
    ]
    return grid(("limit", *FIGURES), lines)
