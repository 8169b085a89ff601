"""What a search for the best file found, as one offline HTML file: which file to take, why, and what else there is.

Plain HTML, CSS and SVG: no script, and nothing to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunelle.report import fitted_key, fitted_picture, fitted_tables, fitted_words
from prunelle.report.cells import kilobytes, significant
from prunelle.report.fitted_picture import Scene
from prunelle.report.fitted_words import TOP1, Limit, plain
from prunelle.report.flips import flips_sentence, flips_table
from prunelle.report.plain import plain_page, styles, text
from prunelle.report.rows import Row, number, write_text
from prunelle.report.speed import pairs, section


@dataclass(frozen=True)
class Fitted:
    """What the page shows.

    summary: what was asked, in one sentence. take: the path of what to take. budget: max_ms, max_ratio, max_kb,
    max_drop, each a number or None. dense: of the dense network: name, val_top1, and where known median_ms (in the
    reference runtime), size_bytes, size_of (what those are of), params, nnz. rows: as prunelle.fit.rows gives them, the
    best first, one of them chosen; path: where the file lies, if it was kept. test: top1, top1_dense, drop, num_test,
    per_class; interval, interval_dense, drop_error where known. nearest: limit (ms, kb, drop) -> row. missed: limit ->
    used, 1 is all that is allowed; empty where the budget is met. files: path, bytes, what.
    """

    title: str
    summary: str
    take: str
    budget: Mapping[str, float | None]
    dense: Row
    rows: Sequence[Row]
    test: Mapping[str, Any]
    nearest: Mapping[str, Row] = field(default_factory=dict)
    missed: Mapping[str, float] = field(default_factory=dict)
    minutes: float = 0.0
    command: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Row] = ()
    metric: str = TOP1

    @property
    def limits(self) -> list[Limit]:
        return fitted_words.limits_of(self.budget)

    @property
    def chosen(self) -> Row:
        return next(row for row in self.rows if row["chosen"])


def write_fitted(found: Fitted, path: Path | str) -> Path:
    """Write the page and return its path; folders on the way are made. Raises DiskError."""
    target = Path(path)
    write_text(target, fitted_html(found))
    return target


def fitted_html(found: Fitted) -> str:
    """The page as text; names are shown as they stand, never read as HTML."""
    limits, metric = found.limits, found.metric
    front = [row for row in found.rows if row["front"]]
    beside = fitted_tables.beside(found.dense, found.chosen, found.test, limits, metric)
    parts = [
        answer(found),
        near(found) if found.missed and found.nearest else "",
        section("beside", "The file beside the dense network", beside),
        pictures(found),
        alone(found),
        section("frontier", "The files that no other beats", FRONT + fitted_tables.frontier(front, limits, metric)),
        everything(found),
        classes(found) if found.test.get("per_class") else "",
        files(found) if found.files else "",
        section("command", "The command that searches again", f"<pre>{text(found.command)}</pre>"),
        section("environment", "Measured on", pairs(found.environment, "")),
    ]
    return plain_page(found.title, "Prunelle fit", found.summary, styles("answer.css", "fitted.css"), "".join(parts))


FRONT = """<p class="hint">No other file is at least as accurate, as fast and as small as one of these. Accuracy is that
on the validation split, below it the change against the dense network in points, with its standard error. Where
one was kept, its folder beside this page is named. “By cost” zeroes more weights where one is used more often.</p>"""


def answer(found: Fitted) -> str:
    """Which file to take, what it costs, whether the limits are kept, and why this one."""
    judged = fitted_words.on_test(found.chosen, found.test)
    met = not found.missed
    first, take, rest = fitted_words.advice(found.take, found.chosen, found.test, found.metric, met)
    why = fitted_words.reason(found.rows, found.limits, found.chosen, met)
    return (
        f'<section id="answer"{"" if met else " class=missed"}>'
        f"<h2>{text(fitted_words.verdict(found.limits, judged))}</h2>"
        f"<p>{first} <code>{text(take)}</code>{text(rest)}</p>"
        f'<div class="tiles">{tiles(judged, found)}</div><p class="why">{text(why)}</p></section>\n'
    )


def tiles(row: Row, found: Fitted) -> str:
    """Time, size and accuracy, each beside its limit."""
    limits = {one.what: one for one in found.limits}
    change = fitted_words.change(row["drop"], number(found.test.get("drop_error")))
    shown = {
        "time": ("Time of one image", f"{significant(row['median_ms'])} ms", fitted_tables.share(row)),
        "size": ("Size", f"{kilobytes(row['size_bytes'])} KB", of_dense(row, found.dense)),
        "accuracy": ("Accuracy, test split", fitted_words.score(found.test["top1"], found.metric), f"{change} points"),
    }
    return "".join(tile(*words, limits.get(what), row) for what, words in shown.items())


def of_dense(row: Row, dense: Row) -> str:
    size = number(dense.get("size_bytes"))
    return f"{row['size_bytes'] / size:.3g} × dense ({dense.get('size_of', '')})" if size else ""


def tile(title: str, figure: str, more: str, limit: Limit | None, row: Row) -> str:
    """A figure, a bar of what it takes of the limit, and whether that is kept."""
    bar, word = "", "no limit was given"
    if limit is not None:
        over = limit.missed(row)
        word = f"{limit.told}: "
        verdict = f'<span class="bad">✗ {text(over)}</span>' if over else '<span class="good">✓ kept</span>'
        if limit.allowed > 0:
            full = max(limit.allowed, limit.used(row))
            length, mark = 100 * max(0.0, limit.used(row)) / full, 100 * limit.allowed / full
            bar = f'<i><span style="width:{length:.1f}%"></span><u style="left:calc({mark:.1f}% - 2px)"></u></i>'
    else:
        verdict = ""
    look = "tile over" if limit is not None and limit.over(row) else "tile"
    told = f"<small>{text(more)}</small>" if more else ""
    return (
        f'<div class="{look}">{text(title)}<b>{text(figure)}</b>{told}{bar}<small>{text(word)}{verdict}</small></div>'
    )


def near(found: Fitted) -> str:
    """Where the budget was not met: how near one can come to each limit."""
    hint = (
        '<p class="hint">Per limit the file that misses it by least while it keeps the other limits, on the validation '
        "split; where no file keeps the others, the one that is over by least in all. Whoever can give up one of these "
        "limits takes the file of its row.</p>"
    )
    body = fitted_tables.misses(found.nearest, found.limits, found.metric)
    return section("near", "The nearest miss on each limit", hint + body)


def pictures(found: Fitted) -> str:
    """Accuracy against time and against size."""
    fit = [row for row in found.rows if row["status"] == "fit"]
    time = "share" if any(one.key == "share" for one in found.limits) else "ms"
    scenes = [Scene(fit, found.chosen, found.dense, found.limits, cost, found.metric) for cost in (time, "kb")]
    below = fitted_picture.below_edge(scenes[0])
    hidden = ""
    if below:
        edge = plain(round(fitted_picture.score_axis(scenes[0]).low, 2))
        unit = " %" if found.metric == TOP1 else ""
        hidden = f" {below} of them lie{'s' if below == 1 else ''} below {edge}{unit} and stand as ▾ at the lower edge."
    hint = (
        f'<p class="hint">Each dot is one of the {len(fit)} files that were made and measured: higher is more accurate '
        "on the validation split, further left is cheaper. What is shaded is beyond a limit. Solid dots keep every "
        f"limit, pale ones break one, perhaps that of the other picture. Point at a dot for its figures.{hidden}</p>"
    )
    names = {"ms": "Accuracy against time", "share": "Accuracy against time", "kb": "Accuracy against size"}
    figures = "".join(
        f"<figure><figcaption>{names[scene.cost]}</figcaption>{fitted_picture.picture(scene)}</figure>"
        for scene in scenes
    )
    body = f'{hint}<div class="pair">{figures}</div>{fitted_key.key(fit)}'
    return section("pictures", "All files, and the limits", body)


def alone(found: Fitted) -> str:
    hint = (
        '<p class="hint">The best file of those made with one technique and no other, beside the chosen one. '
        "A cut without epochs beside it was not trained."
    )
    if others := fitted_tables.never_alone(found.rows):
        hint += f" Only tried together with others: {text(', '.join(others))}."
    body = fitted_tables.alone(found.rows, found.limits, found.metric)
    return section("alone", "What each technique alone gives", f"{hint}</p>{body}")


def everything(found: Fitted) -> str:
    """All rows, folded."""
    body = fitted_tables.tried(found.rows, found.limits, found.metric)
    none = sum(row["status"] != "fit" for row in found.rows)
    words = f"{len(found.rows)} candidates in {found.minutes:.1f} minutes" + (f", {none} gave no file" if none else "")
    return section("tried", "Everything that was tried", f"<details><summary>{text(words)}</summary>{body}</details>")


def classes(found: Fitted) -> str:
    flips = {"per_class": found.test["per_class"]}
    hint = f'<p class="hint">{text(flips_sentence(flips))}</p>'
    return section(
        "classes", "Predictions that flipped, by class", hint + fitted_tables.cells_table(flips_table(flips))
    )


def files(found: Fitted) -> str:
    lines = [
        (
            "",
            (
                f"<code>{text(one['path'])}</code>",
                fitted_tables.figure(one["bytes"], fitted_tables.count),
                text(one["what"]),
            ),
        )
        for one in found.files
    ]
    return section("files", "Files", fitted_tables.grid(("file", "#bytes", "what it is"), lines))
