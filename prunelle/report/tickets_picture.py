"""Accuracy against the share of weights kept: the tickets of every rewinding point, and the controls beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prunelle.report import lines
from prunelle.report.axes import Axis
from prunelle.report.fitted_words import TOP1, score
from prunelle.report.frame import HEIGHT, LEFT, RIGHT, TOP, WIDTH, across, frame, upward
from prunelle.report.lines import Line, Spot, drawn, spot
from prunelle.report.placing import GLYPH, Sheet
from prunelle.report.plain import text
from prunelle.report.rows import Row
from prunelle.report.style import PALETTE
from prunelle.report.tickets_held import CONTROLS, at_point
from prunelle.report.tickets_words import ONE, band, gain, origin, seeds, share, spread_of

DENSE = "#5b6875"
MANY = 5
"""Lines; more of them are drawn faintly."""
LOOKS = {
    "ticket": (PALETTE[0], 0, ""),
    "random": (PALETTE[1], 1, "6 4"),
    "shuffled": (PALETTE[5], 2, "2 3"),
    "reinit": (PALETTE[3], 3, "9 3 2 3"),
    "lr": (PALETTE[2], 4, "4 2"),
    "finetune": (PALETTE[6], 1, "1 3"),
}
"""Of a variant in the picture of the controls: colour, mark, dashes."""


@dataclass(frozen=True)
class Scene:
    """points: as tickets.results.points_of gives them. dense: the point of the dense networks. winner: None or its
    variant, rewind, kept. rewinds: update -> epoch."""

    points: Sequence[Row]
    dense: Row
    winner: Row | None
    rewinds: Mapping[int, float | None]
    metric: str = TOP1

    @property
    def best(self) -> Row | None:
        """The winner's point."""
        if self.winner is None:
            return None
        return next((one for one in self.points if same(one, self.winner)), None)

    @property
    def shown(self) -> list[Row]:
        return [one for one in self.points if one["variant"] in LOOKS]


def same(one: Row, other: Row) -> bool:
    return all(one[key] == other[key] for key in ("variant", "rewind", "kept"))


def kept_axis(kept: Sequence[float]) -> Axis:
    """Shares in %, the largest first: from all weights where half of them were kept at least, else from a little more
    than the most that were."""
    most, least = max(kept), min(kept)
    return Axis(100 * least / 1.25, 100.0 if most >= 0.25 else 100 * min(1.0, 2 * most), log=True, falling=True)


def score_axis(scene: Scene) -> Axis:
    """Hundredths of the metric: from a little above the best down to what is worth a look.

    It reaches below the dense networks by twice what half of the points lose, and at least to the winner and to the
    controls beside it (where those are less than ten points below), so that members that lost everything do not squeeze
    those that matter.
    """
    dense = 100 * scene.dense["test_top1"]
    losses = sorted(dense - 100 * one["test_top1"] for one in scene.shown)
    span = max(1.0 if scene.metric == TOP1 else 0.02 * abs(dense), 2 * losses[len(losses) // 2])
    if scene.best is not None:
        beside = [one for one in scene.shown if one["kept"] == scene.best["kept"] and one["variant"] in CONTROLS]
        beside = [one for one in beside if one in at_point(beside, one["variant"], scene.best["rewind"])]
        near = [loss for one in beside if (loss := dense - 100 * one["test_top1_low"]) < 10]
        span = max(span, *(1.15 * loss for loss in [dense - 100 * scene.best["test_top1_low"], *near]))
    floor = dense - min(span, max(1.1 * losses[-1], 0.5))
    top = max(100 * one["test_top1_high"] for one in [*scene.shown, scene.dense])
    pad = 0.08 * (top - floor)
    return Axis(floor - pad, top + pad)


def spots(points: Sequence[Row], scene: Scene) -> list[Spot]:
    """Of one line, the most kept first."""
    order = sorted(points, key=lambda one: -one["kept"])
    return [spot(one["kept"], spread_of(one), told(one, scene)) for one in order]


def told(point: Row, scene: Scene) -> str:
    """What is said below the pointer."""
    epoch = scene.rewinds.get(point["rewind"])
    return (
        f"{ONE[point['variant']]}, {origin(point['rewind'], epoch)}, {share(point['kept'])} kept\n"
        f"{band(spread_of(point), scene.metric)} ({seeds(point['num_seeds'])})\n"
        f"change against dense {gain(point)} points"
    )


def ticket_lines(scene: Scene) -> dict[int, Line]:
    """A line a rewinding point, coloured from early to late."""
    colors = lines.ramp(max(1, len(scene.rewinds)))
    found = {}
    for index, rewind in enumerate(scene.rewinds):
        if own := at_point(scene.points, "ticket", rewind):
            found[rewind] = Line(spots(own, scene), colors[index], index, faint=len(scene.rewinds) > MANY)
    return found


def control_lines(scene: Scene, rewind: int) -> dict[str, Line]:
    """A line a variant at one rewinding point; {} where tickets have nothing beside them."""
    found = {}
    for variant, (color, shape, dash) in LOOKS.items():
        if own := at_point(scene.points, variant, rewind):
            found[variant] = Line(spots(own, scene), color, shape, dash)
    return found


def tickets_alone(scene: Scene) -> Scene:
    """The scene of the tickets' own picture, on an axis that no control stretches."""
    return replace(scene, points=[one for one in scene.points if one["variant"] == "ticket"])


def tickets_picture(scene: Scene) -> str:
    """The SVG of the tickets: each line in a group of class rN, N its place among the rewinding points.

    scene: with tickets only, at least one.
    """
    groups = ticket_lines(scene)
    body = [
        f'<g class="r{index}">{drawn(groups[rewind], *axes(scene))}</g>'
        for index, rewind in enumerate(scene.rewinds)
        if rewind in groups
    ]
    return svg(scene, "".join(body) + labels(scene, scene.best), f"tickets of {len(groups)} rewinding points")


def controls_picture(scene: Scene) -> str:
    """The SVG of the controls: a group of class atN a rewinding point, in it one of class v-VARIANT a variant."""
    body = []
    for index, rewind in enumerate(scene.rewinds):
        own = control_lines(scene, rewind)
        inside = "".join(f'<g class="v-{name}">{drawn(line, *axes(scene))}</g>' for name, line in own.items())
        crown = scene.best if scene.best is not None and scene.best["rewind"] == rewind else None
        body.append(f'<g class="at at{index}">{inside}{labels(scene, crown)}</g>')
    return svg(scene, "".join(body), "tickets and controls of one rewinding point")


def axes(scene: Scene) -> tuple[Axis, Axis]:
    return kept_axis([one["kept"] for one in scene.shown]), score_axis(scene)


def svg(scene: Scene, body: str, what: str) -> str:
    x, y = axes(scene)
    unit = "accuracy on the test split (top-1), %" if scene.metric == TOP1 else f"{scene.metric} on test × 100"
    told = f"accuracy on the test split against the share of weights kept: {what}; the figures stand in the tables"
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(told)}">'
        f"{frame(x, y, 'weights kept, % (logarithmic)', unit)}{dense_band(scene, y)}{body}</svg>"
    )


def dense_band(scene: Scene, y: Axis) -> str:
    """The dense networks' median and range, across the picture."""
    found = spread_of(scene.dense)
    low, middle, high = (upward(y, 100 * value) for value in (found.low, found.median, found.high))
    words = text(f"dense networks: {band(found, scene.metric)} ({seeds(scene.dense['num_seeds'])})")
    wide = WIDTH - RIGHT - LEFT
    return (
        f'<g><rect x="{LEFT}" y="{high:.1f}" width="{wide}" height="{low - high:.1f}" fill="{DENSE}" '
        'fill-opacity="0.16"/>'
        f'<path d="M{LEFT} {middle:.1f}h{wide}" stroke="{DENSE}" stroke-width="1.5"/><title>{words}</title></g>'
    )


def labels(scene: Scene, crown: Row | None) -> str:
    """A ring round the winner, and words at it and at the dense networks' line."""
    x, y = axes(scene)
    sheet = Sheet((LEFT + 2, TOP, WIDTH - RIGHT - LEFT, HEIGHT - TOP - 48))
    for one in scene.shown:
        sheet.take(across(x, 100 * one["kept"]), upward(y, 100 * one["test_top1"]), 5)
    parts = []
    line = upward(y, 100 * scene.dense["test_top1"])
    sheet.taken.append((LEFT, line - 3, WIDTH, 6))
    if crown is not None:
        px, py = across(x, 100 * crown["kept"]), upward(y, 100 * crown["test_top1"])
        sheet.take(px, py, 11)
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="9.5" fill="none" stroke="#1f2933" stroke-width="2.2"/>')
        word = "winner" if scene.winner and scene.winner["matches"] else "best"
        parts.append(sheet.beside(f"{word}, {share(crown['kept'])}", px, py, "said"))
    words = f"dense {score(scene.dense['test_top1'], scene.metric)}"
    ends = (LEFT + 6, WIDTH - RIGHT - len(words) * GLYPH)
    parts.append(sheet.write(words, [(px, line + dy) for dy in (-7, 17, -22, 34) for px in ends], ""))
    return "".join(parts)
