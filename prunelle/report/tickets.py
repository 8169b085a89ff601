"""What a search for lottery tickets found, as one offline HTML file: which ticket won, and what it beats by how much.

Plain HTML, CSS and SVG, nothing to install; the one script sorts the table of all trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prunelle.report import cells, tickets_barrier, tickets_figures, tickets_plan, tickets_tables, tickets_words
from prunelle.report.fitted_tables import figure, grid
from prunelle.report.fitted_words import TOP1
from prunelle.report.plain import plain_page, styles, text
from prunelle.report.rows import Row, write_text
from prunelle.report.speed import pairs, section
from prunelle.report.tickets_answer import answer, beside
from prunelle.report.tickets_held import rewinding_points
from prunelle.report.tickets_picture import Scene


@dataclass(frozen=True)
class TicketReport:
    """What the page shows; an empty part is left out.

    summary: what was searched, sentences. rows, points: as tickets.results.rows_of and points_of give them. dense: the
    point of variant "dense" among the points (val_top1, test_top1, test_top1_low, test_top1_high, num_seeds). winner:
    the fields of the winning member (seed, kept, rewind, variant) and matches, test_top1 (of that training), path (what
    to take); None where there is none. retired: as tickets.results.retired. plan: as tickets.plan.plan_of, of it curve
    ({workers, seconds, speedup, efficiency}, and measured_seconds where known), workers and seconds with
    measured_seconds of this search or None, limits ({what, seconds}). arrangement: rates ({how, together, kept, seconds
    an update of one member}), and where known whole, sparse_below, workers. files: path, bytes, what. within: how far
    below the dense network still matches, a fraction (tickets.results.MATCHES).
    """

    title: str
    command: str
    summary: Sequence[str]
    points: Sequence[Row]
    rows: Sequence[Row]
    dense: Row
    winner: Row | None
    retired: Mapping[str, Any] = field(default_factory=dict)
    plan: Row | None = None
    arrangement: Row | None = None
    notes: Sequence[str] = ()
    files: Sequence[Row] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    metric: str = TOP1
    within: float = 0.001

    @cached_property
    def scene(self) -> Scene:
        return Scene(self.points, self.dense, self.winner, rewinding_points(self.rows), self.metric)


def write_tickets_page(report: TicketReport, path: Path | str) -> Path:
    """Write the page and return its path; folders on the way are made. Raises DiskError."""
    target = Path(path)
    write_text(target, tickets_html(report))
    return target


def tickets_html(report: TicketReport) -> str:
    """The page as text; names are shown as they stand, never read as HTML."""
    parts = {
        "Result": answer(report.scene, report.rows, report.retired, report.within),
        "Beside its controls": beside(report.scene, report.rows),
        "Accuracy": tickets_figures.accuracy(report.scene) if report.scene.shown else "",
        "Gain": gains(report) if report.scene.shown else "",
        "Error barrier": barrier(report),
        "Workers": workers(report.plan) if report.plan else "",
        "Ways of training": trial(report.arrangement) if report.arrangement else "",
        "All trainings": everything(report),
        "Notes": section("notes", "Notes", bullets(report.notes)) if report.notes else "",
        "Files": files(report.files) if report.files else "",
        "Command": section("command", "The command that searches again", f"<pre>{text(report.command)}</pre>")
        if report.command
        else "",
        "Environment": section("environment", "Measured on", pairs(report.environment, ""))
        if report.environment
        else "",
    }
    links = "".join(f'<a href="#{key_of(body)}">{name}</a>' for name, body in parts.items() if body)
    body = f'<nav aria-label="Sections">{links}</nav>{"".join(parts.values())}'
    style = styles("answer.css", "tickets.css") + tickets_figures.toggling(report.scene)
    return plain_page(report.title, "Prunelle sweep", " ".join(report.summary), style, body, script=styles("sort.js"))


def key_of(body: str) -> str:
    """The id of a section."""
    return body.split('id="', 1)[1].split('"', 1)[0]


def bullets(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(one)}</li>' for one in sentences)}</ul>"


def gains(report: TicketReport) -> str:
    """The tickets' table, those of the other variants folded."""
    limit = f"{100 * report.within:g} points"
    hint = (
        '<p class="hint">The mean over seeds of the test accuracy less that of the dense network of the same seed, in '
        "points, and below it half of its 95 % interval (Student’s t over the seeds). "
        f'<span class="match">✓</span> surely at most {limit} below the dense network, <span class="miss">✗</span> '
        "surely more than that; the others cannot be told with so few seeds.</p>"
    )
    found = list(dict.fromkeys(one["variant"] for one in report.scene.shown))
    first = report.winner["variant"] if report.winner else "ticket"
    found = sorted(found, key=lambda name: (name != first, name != "ticket"))
    body = []
    for index, name in enumerate(found):
        table = tickets_tables.gain_table(name, report.scene, report.within)
        title = text(tickets_words.NAMES[name].capitalize())
        body.append(
            f"<h3>{title}</h3>{table}" if not index else f"<details><summary>{title}</summary>{table}</details>"
        )
    return section("gain", "Gain against the dense network", hint + "".join(body))


def barrier(report: TicketReport) -> str:
    if not (found := tickets_barrier.barriers(report.rows)):
        return ""
    rewinds = {r: epoch for r, epoch in report.scene.rewinds.items() if any(one.rewind == r for one in found)}
    rewinds |= {one.rewind: None for one in found if one.rewind not in rewinds}
    hint = (
        '<p class="hint">Two trainings of a ticket from one rewinding point, in different orders of the data: how much '
        "worse the worst network on the straight line between them is than the mean of the two, on the validation "
        "split. Near 0 both end in one valley: from that point on the ticket’s way is settled.</p>"
    )
    picture = tickets_barrier.barrier_picture(found, rewinds)
    legend = tickets_figures.legend(rewinds)
    note = '<p class="hint">In points: the median over seeds, and their range.</p>'
    table = note + tickets_barrier.barrier_table(found, rewinds)
    return section(
        "barrier",
        "Error barrier between twins",
        f'{hint}<div class="pair"><figure>{picture}{legend}</figure><div>{table}</div></div>',
    )


def workers(plan: Row) -> str:
    """Speed-up and efficiency."""
    told = " ".join(tickets_plan.plan_words(plan))
    pictures = (
        f"<figure><figcaption>How many times as fast</figcaption>{tickets_plan.speedup_picture(plan)}</figure>"
        f"<figure><figcaption>Efficiency: how much of the workers is of use</figcaption>"
        f"{tickets_plan.efficiency_picture(plan)}</figure>"
    )
    hint = f'<p class="hint">{text(told)}</p>' if told else ""
    body = f'{hint}<div class="pair">{pictures}</div>{tickets_plan.key(plan)}'
    table = f"<details><summary>The figures</summary>{tickets_plan.plan_table(plan)}</details>"
    return section("plan", "What more workers bring", body + table)


def trial(arrangement: Row) -> str:
    """The ways of training that were timed, and what was chosen."""
    words = ["Timed for a moment before the search, then the fastest was taken."]
    if arrangement.get("whole"):
        sparse = arrangement.get("sparse_below") or 0
        also = f", with less than {tickets_words.share(sparse)} of the weights kept: sparse" if 0 < sparse <= 1 else ""
        every = "sparse" if sparse > 1 else str(arrangement["whole"])
        words.append(f"Chosen: {every}{also}.")
    return section(
        "trial",
        "Ways of training",
        f'<p class="hint">{text(" ".join(words))}</p>{tickets_tables.trial_table(arrangement)}',
    )


def everything(report: TicketReport) -> str:
    hint = (
        '<p class="hint">A dash was not measured; seconds and way of training may differ between starts. '
        '<span class="screen">Click a heading to sort, again to turn the order round; point at it for its meaning.'
        "</span></p>"
    )
    table = tickets_tables.trainings(report.rows, report.metric)
    return section("trainings", f"All {len(report.rows):,} trainings", hint + table)


def files(found: Sequence[Row]) -> str:
    lines = [
        ("", (f"<code>{text(one['path'])}</code>", figure(one.get("bytes"), cells.count), text(one.get("what") or "")))
        for one in found
    ]
    return section("files", "Files", grid(("file", "#bytes", "what it is"), lines))
