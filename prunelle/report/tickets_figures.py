"""The pictures of a search for tickets with their legends, whose entries show and hide lines without a script."""

from __future__ import annotations

from collections.abc import Mapping

from prunelle.report.fitted_words import TOP1
from prunelle.report.lines import Line, ramp, swatch
from prunelle.report.plain import text
from prunelle.report.speed import section
from prunelle.report.tickets_picture import (
    LOOKS,
    Scene,
    control_lines,
    controls_picture,
    score_axis,
    ticket_lines,
    tickets_alone,
    tickets_picture,
)
from prunelle.report.tickets_words import MEANINGS, NAMES, origin


def accuracy(scene: Scene) -> str:
    """Tickets of all rewinding points, and beside them the controls of one. scene: with at least one point shown."""
    body = [hint(scene), '<div class="pair">']
    if (alone := tickets_alone(scene)).shown:
        body.append(tickets_figure(alone))
    if beside := [name for name in variants(scene) if name != "ticket"]:
        body.append(controls_figure(scene))
    body.append("</div>")
    told = "".join(f"<li><b>{text(NAMES[name])}</b>: {text(MEANINGS[name])}</li>" for name in ["ticket", *beside])
    body.append(f'<ul class="meaning">{told}</ul>')
    return section("accuracy", "Accuracy against the share of weights kept", "".join(body))


def variants(scene: Scene) -> list[str]:
    """Those of the pictures, in the order of their legend."""
    present = {one["variant"] for one in scene.shown}
    return [name for name in LOOKS if name in present]


def hint(scene: Scene) -> str:
    several = max(one["num_seeds"] for one in scene.shown) > 1
    what = (
        "A mark is the median over seeds, the band around a line reaches from the worst to the best of them."
        if several
        else "A mark is one training: with one seed there is no band."
    )
    return (
        f'<p class="hint">Further right fewer weights are left. {what} The grey line across is the dense network. '
        "Point at a mark for its figures.</p>"
    )


def below(scene: Scene) -> str:
    """What is not to be seen in a picture, '' where all is."""
    y = score_axis(scene)
    if all(100 * one["test_top1"] >= y.low for one in scene.shown):
        return ""
    edge = f"{y.low:.2f}{' %' if scene.metric == TOP1 else ''}"
    return f'<p class="below">Marks below {edge} stand as ▾ at the foot.</p>'


def tickets_figure(scene: Scene) -> str:
    found = ticket_lines(scene)
    boxes = [
        toggle("checkbox", f"r-{index}", swatch(found[rewind]) + text(origin(rewind, epoch)))
        for index, (rewind, epoch) in enumerate(scene.rewinds.items())
        if rewind in found
    ]
    chosen = fieldset("Rewound to", boxes) if boxes else ""
    inside = f"{tickets_picture(scene)}{chosen}{below(scene)}"
    return f"<figure><figcaption>Tickets, by rewinding point</figcaption>{inside}</figure>"


def controls_figure(scene: Scene) -> str:
    """One rewinding point at a time, the winner's first."""
    lines: dict[str, Line] = {}
    for rewind in scene.rewinds:
        lines = control_lines(scene, rewind) | lines
    boxes = [
        toggle("checkbox", f"v-{name}", swatch(lines[name]) + text(NAMES[name])) for name in LOOKS if name in lines
    ]
    points = list(scene.rewinds.items())
    first = next((i for i, (r, _) in enumerate(points) if scene.winner and r == scene.winner["rewind"]), 0)
    choice = ""
    if len(points) > 1:
        buttons = [toggle("radio", f"at-{i}", text(origin(*point)), i == first) for i, point in enumerate(points)]
        choice = fieldset("Rewound to", buttons)
    shown = fieldset("Show", boxes)
    title = "Tickets and controls of one rewinding point" if len(points) > 1 else "Tickets and controls"
    inside = f"{controls_picture(scene)}{choice}{shown}{below(scene)}"
    return f"<figure><figcaption>{title}</figcaption>{inside}</figure>"


def fieldset(name: str, inside: list[str]) -> str:
    return f'<fieldset class="toggles"><legend>{text(name)}</legend>{"".join(inside)}</fieldset>'


def toggle(kind: str, key: str, words: str, on: bool = True) -> str:
    """A check box or a radio button. words: HTML."""
    name = ' name="rewound-to"' if kind == "radio" else ""
    return f'<label class="toggle"><input type="{kind}" id="{key}"{name}{" checked" if on else ""}>{words}</label>'


def legend(rewinds: Mapping[int, float | None]) -> str:
    """Of a picture whose lines are rewinding points, without choice."""
    colors = ramp(max(1, len(rewinds)))
    items = [
        f"<li>{swatch(Line((), color, index))}{text(origin(*point))}</li>"
        for index, (point, color) in enumerate(zip(rewinds.items(), colors, strict=True))
    ]
    return f'<ul class="key">{"".join(items)}</ul>'


def toggling(scene: Scene) -> str:
    """The CSS by which the legends' boxes work; a browser too old for it shows all lines."""
    rules = []
    for index in range(len(scene.rewinds)):
        rules.append(f"#accuracy:has(#r-{index}:not(:checked)) .r{index} {{ display: none; }}")
        if len(scene.rewinds) > 1:
            rules.append(f"#accuracy:has(#at-{index}:not(:checked)) .at{index} {{ display: none; }}")
    rules += [f"#accuracy:has(#v-{name}:not(:checked)) .v-{name} {{ display: none; }}" for name in LOOKS]
    return "\n".join(rules)
