"""Accuracy against a cost as an SVG: every file a dot, the limits as lines, what lies beyond them shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report.axes import Axis, cost_axis
from prunelle.report.cells import kilobytes, significant
from prunelle.report.fitted_key import BEYOND, FAMILIES, family
from prunelle.report.fitted_words import TOP1, Limit, change, plain, score, used
from prunelle.report.frame import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, across, frame, upward
from prunelle.report.pareto import pareto_front
from prunelle.report.placing import GLYPH, Sheet
from prunelle.report.plain import text
from prunelle.report.rows import Row, number

UNITS = {"ms": " ms", "kb": " KB", "share": " × dense"}


@dataclass(frozen=True)
class Scene:
    """What a picture shows. rows: the files that are fit. cost: ms, share or kb. limits: all. dense: val_top1 and
    where known median_ms, share, size_bytes of the dense network."""

    rows: Sequence[Row]
    chosen: Row
    dense: Row
    limits: Sequence[Limit]
    cost: str
    metric: str = TOP1

    @property
    def limit(self) -> Limit | None:
        return next((one for one in self.limits if one.key == self.cost), None)

    @property
    def allowed_drop(self) -> float:
        """Points; 0 without a limit."""
        return next((one.allowed for one in self.limits if one.key == "drop"), 0.0)

    @property
    def least_score(self) -> float | None:
        """The metric, in hundredths, below which the limit of the drop is broken."""
        given = any(one.key == "drop" for one in self.limits)
        return 100 * self.dense["val_top1"] - self.allowed_drop if given else None


def score_axis(scene: Scene) -> Axis:
    """Hundredths of the metric: from a little above the best down to what is worth a look.

    It reaches below the dense network by four times the drop that is allowed, or twice what the chosen one lost, or
    six times the error of that, and up to twice as far where less than half of the files would be seen; so files that
    lost everything do not squeeze those that matter.
    """
    dense, chosen = 100 * scene.dense["val_top1"], 100 * scene.chosen["val_top1"]
    scores = [100 * row["val_top1"] for row in scene.rows]
    least = 1.0 if scene.metric == TOP1 else (max(scores) - min(scores)) / 2 or abs(dense) / 10 or 1.0
    span = max(4 * scene.allowed_drop, 2 * (dense - chosen), 6 * scene.chosen["drop_error"]) or least
    half = sorted(dense - value for value in scores)[len(scores) // 2]
    span = max(span, min(1.05 * half, 2 * span))
    limit = dense if scene.least_score is None else scene.least_score
    top, floor = max(*scores, dense, limit), min(*scores, dense)
    floor = min(floor, limit) if floor - limit < max(top - floor, span) else floor
    low = max(floor, dense - max(span, 0.5 if scene.metric == TOP1 else 0.0))
    pad = 0.1 * (top - low) or least / 2
    return Axis(low if low > floor else low - 2 * pad, top + pad)


def picture(scene: Scene) -> str:
    """The SVG."""
    y = score_axis(scene)
    costs = [used(scene.cost, row) for row in scene.rows]
    costs += [value for value in (dense_cost(scene), scene.limit and scene.limit.allowed) if value]
    x = cost_axis(costs)
    where = [(across(x, used(scene.cost, row)), upward(y, 100 * row["val_top1"])) for row in scene.rows]
    parts = [frame(x, y, *titles(x, scene)), shades(x, y, scene), stairs(x, y, scene)]
    order = sorted(range(len(where)), key=lambda n: (bool(scene.rows[n]["met"]), bool(scene.rows[n]["chosen"])))
    parts += [dot(scene.rows[n], where[n], 100 * scene.rows[n]["val_top1"] < y.low, scene.metric) for n in order]
    parts.append(labels(x, y, scene, where))
    told = f"accuracy on the validation split against {axis_title(scene.cost)}, {len(scene.rows)} files"
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(told)}">'
        f"{''.join(parts)}</svg>"
    )


def dense_cost(scene: Scene) -> float | None:
    key = "size_bytes" if scene.cost == "kb" else {"ms": "median_ms", "share": "share"}[scene.cost]
    return None if number(scene.dense.get(key)) is None else used(scene.cost, scene.dense)


def axis_title(cost: str) -> str:
    titles = {"ms": "time of one image, ms", "share": "time, as a share of the dense network’s", "kb": "size, KB"}
    return titles[cost]


def titles(x: Axis, scene: Scene) -> tuple[str, str]:
    """Of the axis of costs and of that of accuracy."""
    unit = "accuracy on validation (top-1), %" if scene.metric == TOP1 else f"{scene.metric} on validation × 100"
    return axis_title(scene.cost) + (" (logarithmic)" if x.log else ""), unit


def shades(x: Axis, y: Axis, scene: Scene) -> str:
    """What breaks a limit, shaded, and the limits as dashed lines."""
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    at_x = across(x, scene.limit.allowed) if scene.limit else right
    shown = scene.least_score is not None and scene.least_score >= y.low
    at_y = upward(y, scene.least_score) if scene.least_score is not None else foot
    beyond = f"M{at_x:.1f} {TOP}H{right}V{foot}H{LEFT}V{at_y:.1f}H{at_x:.1f}Z"
    parts = [f'<path d="{beyond}" fill="{BEYOND}" fill-opacity="0.07"/>']
    line = f'fill="none" stroke="{BEYOND}" stroke-width="1.5" stroke-dasharray="6 4"'
    parts += [f'<path d="M{at_x:.1f} {TOP}V{foot}" {line}/>'] if scene.limit else []
    parts += [f'<path d="M{LEFT} {at_y:.1f}H{right}" {line}/>'] if shown else []
    return "".join(parts)


def stairs(x: Axis, y: Axis, scene: Scene) -> str:
    """The frontier of these two: the best accuracy that can be had at a cost or less."""
    points = [(used(scene.cost, row), 100 * row["val_top1"]) for row in scene.rows]
    front = [points[index] for index in pareto_front(points)]
    steps = [f"M{across(x, front[0][0]):.1f} {HEIGHT - BOTTOM}"]
    steps += [f"H{across(x, cost):.1f}V{upward(y, value):.1f}" for cost, value in front]
    return f'<path d="{"".join(steps)}H{WIDTH - RIGHT}" fill="none" stroke="#7b8794" stroke-width="1.5"/>'


def dot(row: Row, place: tuple[float, float], below: bool, metric: str) -> str:
    """Solid where it keeps all limits, pale where not; a triangle at the lower edge where it lies below it."""
    x, y = place
    color = FAMILIES[family(row)][0]
    look = f'fill="{color}" stroke="#fff"' if row["met"] else f'fill="{color}" fill-opacity="0.28" stroke="{color}"'
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" {look}/>'
    if below:
        shape = f'<path d="M{x - 5:.1f} {y - 9:.1f}h10l-5 8z" {look}/>'
    if row["chosen"]:
        shape += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" stroke="#1f2933" stroke-width="2.2"/>'
    return f"<g>{shape}<title>{text(hover(row, metric))}</title></g>"


def hover(row: Row, metric: str = TOP1) -> str:
    return (
        f"{row['name']}\n{score(row['val_top1'], metric)} ({change(row['drop'], row['drop_error'])} points), "
        f"{significant(row['median_ms'])} ms, {kilobytes(row['size_bytes'])} KB\n"
        f"{'keeps every limit' if row['met'] else 'breaks a limit'}"
    )


def labels(x: Axis, y: Axis, scene: Scene, where: Sequence[tuple[float, float]]) -> str:
    """The dense network's mark, and words at it, at the chosen file and at the limits."""
    sheet = Sheet((LEFT + 2, TOP, WIDTH - RIGHT - LEFT, HEIGHT - TOP - BOTTOM))
    for place in where:
        sheet.take(*place, 6)
    parts = []
    if scene.limit:
        at = across(x, scene.limit.allowed)
        sheet.taken.append((at - 1, TOP, 2, HEIGHT))
        parts.append(over_line(at, f"limit {plain(scene.limit.allowed)}{UNITS[scene.cost]}"))
    marks = [(*place, "chosen") for row, place in zip(scene.rows, where, strict=True) if row["chosen"]]
    if (cost := dense_cost(scene)) is not None:
        px, py = across(x, cost), upward(y, 100 * scene.dense["val_top1"])
        told = f"the dense network, {scene.dense.get('name', '')}"
        look = 'fill="#fff" stroke="#1f2933" stroke-width="1.8"'
        parts.append(f'<path d="M{px:.1f} {py - 7:.1f}l7 7-7 7-7-7z" {look}><title>{text(told)}</title></path>')
        marks.append((px, py, "dense"))
    for px, py, _ in marks:
        sheet.take(px, py, 11)
    parts += [sheet.beside(words, px, py, "said") for px, py, words in marks]
    if scene.least_score is not None and scene.least_score >= y.low:
        parts.append(sheet.write(*under_line(upward(y, scene.least_score), scene.allowed_drop), "limit"))
    return "".join(parts)


def over_line(at: float, words: str) -> str:
    """A word over an upright line, within the picture."""
    half = len(words) * GLYPH / 2
    middle = min(max(at, LEFT - 10 + half), WIDTH - half - 2)
    return f'<text class="limit" x="{middle:.1f}" y="{TOP - 8}" text-anchor="middle">{text(words)}</text>'


def under_line(at: float, allowed: float) -> tuple[str, list[tuple[float, float]]]:
    """The words at the limit of the drop, and where they may stand: under the line or over it."""
    words = f"limit {'−' if allowed >= 0 else '+'}{plain(abs(allowed))} points"
    wide = len(words) * GLYPH
    ends = (LEFT + 6, WIDTH - RIGHT - wide - 4, (LEFT + WIDTH - wide) / 2)
    return words, [(px, at + dy) for dy in (15, -6) for px in ends]


def below_edge(scene: Scene) -> int:
    low = score_axis(scene).low
    return sum(100 * row["val_top1"] < low for row in scene.rows)
