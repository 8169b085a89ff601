"""Accuracy against a cost as an SVG: every file a dot, the limits as lines, what lies beyond them shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunelle.report.axes import Axis, cost_axis
from prunelle.report.cells import kilobytes, significant
from prunelle.report.fitted_words import TOP1, Limit, change, plain, score, used
from prunelle.report.pareto import pareto_front
from prunelle.report.rows import Row, number
from prunelle.report.structure import text

WIDTH, HEIGHT = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 28, 48
GLYPH = 7.4
"""Width of a letter, at the larger of the two text sizes."""
FAMILIES = {
    "dense": ("#5b6875", "nothing removed"),
    "zeros": ("#0072b2", "single weights to zero"),
    "channels": ("#d55e00", "channels removed"),
    "blocks": ("#009e73", "blocks removed"),
    "several": ("#a6498b", "several of these"),
}
BEYOND = "#b3261e"
CSS = """
.fit-picture { display: block; width: 100%; height: auto; }
.fit-picture text { font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: #3b4754; }
.fit-picture .halo { paint-order: stroke; stroke: #fff; stroke-width: 3.5px; stroke-linejoin: round; }
.fit-picture .said { font-weight: 700; fill: #1f2933; }
.fit-picture .limit { fill: #8f1d16; }
@media (max-width: 720px) { .fit-picture text { font-size: 13.5px; } }
"""


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
    def least_score(self) -> float | None:
        """The metric, in hundredths, below which the limit of the drop is broken."""
        allowed = next((one.allowed for one in self.limits if one.key == "drop"), None)
        return None if allowed is None else 100 * self.dense["val_top1"] - allowed


def family(row: Row) -> str:
    """What was taken away, as one of FAMILIES; fewer bits a weight alone take nothing away.

    >>> family({"techniques": ["zeros", "int16"]}), family({"techniques": ["zeros", "channels"]})
    ('zeros', 'several')
    """
    found = [name for name in row["techniques"] if name in FAMILIES]
    return "several" if len(found) > 1 else found[0] if found else "dense"


def score_axis(scene: Scene) -> Axis:
    """Hundredths of the metric: from a little above the best down to what is worth a look.

    It reaches below the dense network by four times the drop that is allowed, or twice what the chosen one lost, or
    six times the error of that; so files that lost everything do not squeeze those that matter.
    """
    dense, chosen = 100 * scene.dense["val_top1"], 100 * scene.chosen["val_top1"]
    scores = [100 * row["val_top1"] for row in scene.rows]
    allowed = next((one.allowed for one in scene.limits if one.key == "drop"), 0.0)
    least = 1.0 if scene.metric == TOP1 else (max(scores) - min(scores)) / 2 or abs(dense) / 10 or 1.0
    span = max(4 * allowed, 2 * (dense - chosen), 6 * scene.chosen["drop_error"]) or least
    limit = dense if scene.least_score is None else scene.least_score
    top, floor = max(*scores, dense, limit), min(*scores, dense)
    floor = min(floor, limit) if floor - limit < max(top - floor, span) else floor
    low = max(floor, dense - max(span, least / 2))
    pad = 0.1 * (top - low) or least / 2
    return Axis(low if low > floor else low - pad, top + pad)


def picture(scene: Scene) -> str:
    """The SVG."""
    y = score_axis(scene)
    costs = [used(scene.cost, row) for row in scene.rows]
    costs += [value for value in (dense_cost(scene), scene.limit and scene.limit.allowed) if value]
    x = cost_axis(costs)
    where = [(across(x, used(scene.cost, row)), upward(y, 100 * row["val_top1"])) for row in scene.rows]
    parts = [frame(x, y, scene), shades(x, y, scene), stairs(x, y, scene)]
    order = sorted(range(len(where)), key=lambda n: (bool(scene.rows[n]["met"]), bool(scene.rows[n]["chosen"])))
    parts += [dot(scene.rows[n], where[n], 100 * scene.rows[n]["val_top1"] < y.low, scene.metric) for n in order]
    parts.append(labels(x, y, scene, where))
    told = f"accuracy on the validation split against {axis_title(scene.cost)}, {len(scene.rows)} files"
    return (
        f'<svg class="fit-picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(told)}">'
        f"{''.join(parts)}</svg>"
    )


def across(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * axis.at(value)


def upward(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.at(value)


def dense_cost(scene: Scene) -> float | None:
    key = "size_bytes" if scene.cost == "kb" else {"ms": "median_ms", "share": "share"}[scene.cost]
    return None if number(scene.dense.get(key)) is None else used(scene.cost, scene.dense)


def axis_title(cost: str) -> str:
    titles = {"ms": "time of one image, ms", "share": "time, as a share of the dense network’s", "kb": "size, KB"}
    return titles[cost]


def frame(x: Axis, y: Axis, scene: Scene) -> str:
    """Grid, ticks, titles of the axes."""
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{foot - TOP}" fill="#fff"/>']
    for value, label in x.ticks():
        at = across(x, value)
        parts.append(f'<path d="M{at:.1f} {TOP}V{foot + 4}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{at:.1f}" y="{foot + 18}" text-anchor="middle">{label}</text>')
    for value, label in y.ticks():
        at = upward(y, value)
        parts.append(f'<path d="M{LEFT - 4} {at:.1f}H{right}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (LEFT + right) / 2
    title = axis_title(scene.cost) + (" (logarithmic)" if x.log else "")
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{text(title)}</text>')
    unit = "top-1, %" if scene.metric == TOP1 else f"{scene.metric} × 100"
    parts.append(f'<text x="4" y="14">{text(unit)}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{foot}H{right}" fill="none" stroke="#9aa5b1"/>')
    return "".join(parts)


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
    """Words at the limits, the dense network and the chosen one, placed where they cover no dot."""
    taken = [(px - 6, py - 6, 12.0, 12.0) for px, py in where]
    parts = []
    if scene.limit:
        words = f"limit {plain(scene.limit.allowed)}{ {'ms': ' ms', 'kb': ' KB'}.get(scene.cost, '') }"
        half = len(words) * GLYPH / 2
        at = min(max(across(x, scene.limit.allowed), LEFT + 24 + half), WIDTH - half - 2)
        parts.append(f'<text class="limit" x="{at:.1f}" y="{TOP - 8}" text-anchor="middle">{words}</text>')
    marks: list[tuple[float, float, str, str]] = []
    if (cost := dense_cost(scene)) is not None:
        px, py = across(x, cost), upward(y, 100 * scene.dense["val_top1"])
        look = 'fill="#fff" stroke="#1f2933" stroke-width="1.8"'
        told = f"the dense network, {scene.dense.get('name', '')}"
        parts.append(f'<path d="M{px:.1f} {py - 7:.1f}l7 7-7 7-7-7z" {look}><title>{text(told)}</title></path>')
        taken.append((px - 7, py - 7, 14, 14))
        marks.append((px, py, "dense", "said"))
    chosen = next((place for row, place in zip(scene.rows, where, strict=True) if row["chosen"]), None)
    if chosen is not None:
        taken.append((chosen[0] - 11, chosen[1] - 11, 22, 22))
        marks.insert(0, (*chosen, "chosen", "said"))
    for px, py, words, look in marks:
        parts.append(around(px, py, words, look, taken))
    if scene.least_score is not None and scene.least_score >= y.low:
        at_y = upward(y, scene.least_score)
        allowed = next(one.allowed for one in scene.limits if one.key == "drop")
        words = f"limit {'−' if allowed >= 0 else '+'}{plain(abs(allowed))} points"
        wide = len(words) * GLYPH
        spots = [
            (px, at_y + dy) for dy in (15, -6) for px in (LEFT + 6, WIDTH - RIGHT - wide - 4, (LEFT + WIDTH - wide) / 2)
        ]
        parts.append(written(spots, words, "limit", taken))
    return "".join(parts)


def around(x: float, y: float, words: str, look: str, taken: list[tuple[float, float, float, float]]) -> str:
    """Words beside a mark, on the side where they cover least."""
    wide = len(words) * GLYPH
    sides = [(x + 13, y + 4), (x - 13 - wide, y + 4), (x - wide / 2, y - 14), (x - wide / 2, y + 24)]
    sides += [(x + 9, y - 10), (x - 9 - wide, y - 10), (x + 9, y + 20), (x - 9 - wide, y + 20)]
    return written(sides, words, look, taken)


def written(
    spots: Sequence[tuple[float, float]], words: str, look: str, taken: list[tuple[float, float, float, float]]
) -> str:
    """Words at the spot (left end of the baseline) where they cover least; the place is taken from then on."""
    wide, high = len(words) * GLYPH, 15.0

    def cost(spot: tuple[float, float]) -> float:
        left, top = spot[0], spot[1] - 12
        out = (
            max(0, LEFT + 2 - left)
            + max(0, left + wide - WIDTH)
            + max(0, TOP - top)
            + max(0, top + high - HEIGHT + BOTTOM)
        )
        return 50 * out + sum(
            max(0.0, min(left + wide, bx + bw) - max(left, bx)) * max(0.0, min(top + high, by + bh) - max(top, by))
            for bx, by, bw, bh in taken
        )

    x, y = min(spots, key=cost)
    taken.append((x, y - 12, wide, high))
    return f'<text class="halo {look}" x="{x:.1f}" y="{y:.1f}">{text(words)}</text>'


def key(rows: Sequence[Row]) -> str:
    """The legend: the families that occur, then the marks."""
    present = {family(row) for row in rows}

    def item(shape: str, words: str) -> str:
        return f'<li><svg width="22" height="16" aria-hidden="true">{shape}</svg>{text(words)}</li>'

    items = [
        item(f'<circle cx="11" cy="8" r="5.5" fill="{color}"/>', words)
        for name, (color, words) in FAMILIES.items()
        if name in present
    ]
    pale = 'fill="#5b6875" fill-opacity="0.28" stroke="#5b6875"'
    items.append(item(f'<circle cx="11" cy="8" r="5" {pale}/>', "pale: breaks a limit"))
    items.append(item('<circle cx="11" cy="8" r="7" fill="none" stroke="#1f2933" stroke-width="2"/>', "chosen"))
    items.append(
        item('<path d="M11 1l7 7-7 7-7-7z" fill="#fff" stroke="#1f2933" stroke-width="1.6"/>', "dense network")
    )
    items.append(
        item('<path d="M2 13H11V4H21" fill="none" stroke="#7b8794" stroke-width="1.5"/>', "best accuracy for a cost")
    )
    items.append(item(f'<path d="M1 3h20v11H1z" fill="{BEYOND}" fill-opacity="0.1"/>', "beyond a limit"))
    return f'<ul class="key">{"".join(items)}</ul>'


def below_edge(scene: Scene) -> int:
    low = score_axis(scene).low
    return sum(100 * row["val_top1"] < low for row in scene.rows)
