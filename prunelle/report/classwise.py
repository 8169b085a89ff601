"""What a class-wise network reaches, as one offline HTML file: its members beside the whole network.

Plain HTML, CSS and SVG, nothing to install; the one script sorts tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prunelle.report import classwise_groupings, classwise_layers, classwise_tables, classwise_words
from prunelle.report.classwise_answer import answer
from prunelle.report.classwise_maps import confusion_map, similarity_map
from prunelle.report.classwise_order import Order
from prunelle.report.classwise_scale import legend
from prunelle.report.plain import plain_page, styles, text
from prunelle.report.rows import Row, write_text
from prunelle.report.speed import pairs, section
from prunelle.report.tickets import bullets, files, key_of


@dataclass(frozen=True)
class ClasswiseReport:
    """What the page shows; an empty part is left out. A share and a top1 are fractions.

    class_names: of all n classes. groups: the class numbers of each member. grouping: how they were found, a key of
    classwise_words.FOUND. similarity: n x n in [-1, 1], or empty; similarity_of: of what, a phrase.
    whole: top1, top1_low, top1_high, macs, params, size_bytes, num_test.
    combined: top1, top1_low, top1_high, macs and params (of all members), size_bytes and path (of the folder),
    num_wrong_group and num_wrong_within (test images in another group and in the right one), macs_largest.
    members: member, classes (names), macs, macs_share, params, params_share (of the whole network), size_bytes, epochs
    (trained), epochs_saved (left out), val_top1, test_top1 (half own classes, half others), temperature, bias,
    latency_ms (by itself, or None) and latency_runtime.
    rows: member, classes, layer, channels, channels_dense, params, params_dense, macs, macs_dense; the layers of a
    member in the order they run.
    confusion: n x n test images, row = true class, column = answer.
    speed: runtime, what (begins with SIDE, CUT or WHOLE of classwise_words where it is that), ms, p95_ms, ratio,
    ratio_low, ratio_high: times as fast as the first of the same runtime, whose ratio is None.
    trials: grouping, seed, top1, macs, params.
    groupings: grouping, num_seeds, mean, low, high, gain, gain_low, gain_high (against random, paired over seeds; None
    for random itself), macs_total, params_total; intervals are of 95 %.
    saved: epochs (until members left), epochs_saved (left out by early stopping), share (the latter of both); where
    that is audited, so that nothing was left out, cost, cost_low, cost_high: see recipes.classwise_figures.saved.
    files: path, bytes, what.
    """

    title: str
    command: str
    summary: Sequence[str]
    class_names: Sequence[str]
    groups: Sequence[Sequence[int]]
    grouping: str
    similarity: Sequence[Sequence[float]]
    similarity_of: str
    whole: Row
    combined: Row
    members: Sequence[Row]
    rows: Sequence[Row]
    confusion: Sequence[Sequence[int]]
    speed: Sequence[Row] = ()
    trials: Sequence[Row] = ()
    groupings: Sequence[Row] = ()
    saved: Row | None = None
    notes: Sequence[str] = ()
    files: Sequence[Row] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def order(self) -> Order:
        known = len(self.members) == len(self.groups)
        names = [str(self.members[place]["member"] if known else place + 1) for place in range(len(self.groups))]
        return Order(self.class_names, self.groups, names)


def write_classwise_page(report: ClasswiseReport, path: Path | str) -> Path:
    """Write the page and return its path; folders on the way are made. Raises DiskError."""
    target = Path(path)
    write_text(target, classwise_html(report))
    return target


def classwise_html(report: ClasswiseReport) -> str:
    """The page as text; names are shown as they stand, never read as HTML."""
    parts = {
        "Result": answer(report.whole, report.combined, len(report.groups), report.speed, report.saved),
        "Members": groups(report) if report.members else "",
        "Similarity": similarity_map(report.order, report.similarity, report.similarity_of)
        if report.similarity
        else "",
        "Confusion": confusion(report) if report.confusion else "",
        "Speed": speed(report.speed) if report.speed else "",
        "Groupings": compared(report) if report.groupings else "",
        "Layers": layers(report.rows) if report.rows else "",
        "Notes": section("notes", "Notes", bullets(report.notes)) if report.notes else "",
        "Files": files(report.files) if report.files else "",
        "Command": section("command", "The command that makes it again", f"<pre>{text(report.command)}</pre>")
        if report.command
        else "",
        "Environment": section("environment", "Measured on", pairs(report.environment, ""))
        if report.environment
        else "",
    }
    links = "".join(f'<a href="#{key_of(body)}">{name}</a>' for name, body in parts.items() if body)
    body = f'<nav aria-label="Sections">{links}</nav>{"".join(parts.values())}'
    style = styles("answer.css", "classwise.css")
    return plain_page(report.title, "Prunelle classwise", " ".join(report.summary), style, body, styles("sort.js"))


def hint(words: str) -> str:
    """words: a text."""
    return f'<p class="hint">{text(words)}</p>'


def groups(report: ClasswiseReport) -> str:
    found = classwise_words.FOUND.get(report.grouping, f"Grouping: {report.grouping}.")
    told = (
        f"{found} Below a figure stands how much of the whole network that is. Validation and test: of a member’s "
        "images half are of its own classes, half of others, which it must call none of its own. Its outputs are "
        "divided by its temperature, and its bias is added to its log-odds of one of its own, before members are "
        "compared."
    )
    title = "The member" if len(report.members) == 1 else f"The {len(report.members)} members"
    return section("groups", title, hint(told) + classwise_tables.members_table(report.members))


def confusion(report: ClasswiseReport) -> str:
    """Wrong answers within and across groups."""
    found = report.combined
    return confusion_map(report.order, report.confusion, found["num_wrong_within"], found["num_wrong_group"])


def speed(rows: Sequence[Row]) -> str:
    told = (
        "One image, end to end: the slowest member, then combining. Times as fast is against the first row of the same "
        "runtime, both sides interleaved, with its interval."
    )
    return section("speed", "Time of one image", hint(told) + classwise_tables.speed_table(rows))


def compared(report: ClasswiseReport) -> str:
    """Whether the grouping matters."""
    accuracy = classwise_groupings.accuracy_dots(report.groupings, report.trials)
    gains = classwise_groupings.gain_dots(report.groupings)
    drawn = classwise_groupings.dots_picture
    pictures = f"<figure>{drawn(accuracy, 'combined top-1, %')}</figure>" if accuracy else ""
    pictures += f"<figure>{drawn(gains, 'gain against random, points', zero=True)}</figure>" if gains else ""
    small = " Small dots are single seeds." if report.trials else ""
    told = hint(f"Means over seeds with 95 % intervals; gains are paired, seed by seed.{small}")
    trials = report.trials
    words = f"{classwise_words.counted(len(trials), 'network')} behind it"
    fold = f"<details><summary>{words}</summary>{classwise_groupings.trials_table(trials)}</details>"
    body = f'{classwise_groupings.gains_list(report.groupings)}{told}<div class="pair">{pictures}</div>'
    table = classwise_groupings.groupings_table(report.groupings)
    return section("compared", "Does the grouping matter?", body + table + (fold if trials else ""))


def layers(rows: Sequence[Row]) -> str:
    """What is left of every layer in every member."""
    told = "Every member is cut by what its own classes need; a cell is the share of a layer’s channels left, in %. "
    picture = classwise_layers.layers_picture(rows) + legend(classwise_layers.KEPT, lambda v: f"{100 * v:.0f} %", "")
    words = f"{classwise_words.counted(len(rows), 'row')}, with parameters and multiply-adds"
    fold = f"<details><summary>{words}</summary>{classwise_tables.layers_table(rows)}</details>"
    return section("layers", "What is left of every layer", hint(told + classwise_layers.uneven(rows)) + picture + fold)
