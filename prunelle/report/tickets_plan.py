"""What more workers bring: speed-up and efficiency as predicted, beside what was measured, and what limits them."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report.axes import Axis
from prunelle.report.cells import significant
from prunelle.report.fitted_tables import grid
from prunelle.report.frame import HEIGHT, WIDTH, across, frame, upward
from prunelle.report.lines import joined, mark
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.style import PALETTE
from prunelle.report.tickets_words import duration, listed


def measured(plan: Row) -> dict[int, float]:
    """Workers -> seconds that the whole search took."""
    found = {row["workers"]: row.get("measured_seconds") for row in plan["curve"]}
    if number(plan.get("measured_seconds")) is not None:
        found[plan["workers"]] = plan["measured_seconds"]
    return {workers: seconds for workers, seconds in sorted(found.items()) if number(seconds) is not None}


def predicted(plan: Row) -> dict[int, Row]:
    """Workers -> seconds, speedup, efficiency, by workers; this search's number of them among them."""
    found = {row["workers"]: row for row in plan["curve"]}
    if number(plan.get("workers")) is not None and number(plan.get("seconds")) is not None:
        found.setdefault(plan["workers"], plan)
    return dict(sorted(found.items()))


def alone(plan: Row) -> tuple[float, bool]:
    """Seconds that one worker takes, and whether that was measured."""
    if 1 in (found := measured(plan)):
        return found[1], True
    first = next(iter(predicted(plan).values()))
    return first["seconds"] * first["speedup"], False


def plan_words(plan: Row) -> list[str]:
    """Predicted against measured, and what no number of workers shortens."""
    found = []
    for workers, seconds in measured(plan).items():
        if (row := predicted(plan).get(workers)) is not None:
            off = 100 * (row["seconds"] / seconds - 1)
            which = f"{abs(off):.1f} % {'more' if off > 0 else 'less'} than" if abs(off) >= 0.05 else "as much as"
            found.append(
                f"With {workers_of(workers)} it took {duration(seconds)}; {duration(row['seconds'])} were predicted, "
                f"{which} that."
            )
    if limits := plan.get("limits"):
        serial = sum(one["seconds"] for one in limits)
        one_worker, last = predicted(plan)[min(predicted(plan))], ""
        if serial > 0:
            most = one_worker["seconds"] * one_worker["speedup"] / serial
            last = f" So the speed-up ends at {significant(most)}."
        found.append(f"No number of workers makes it shorter than {duration(serial)}: {chain(limits)}.{last}")
    return found


def chain(limits: Sequence[Row]) -> str:
    """The parts that wait for each other, longest first where there are many.

    >>> chain([{"what": "dense network", "seconds": 60}, {"what": "longest training", "seconds": 300}])
    'dense network 60 seconds and longest training 5.0 minutes'
    """
    parts = [f"{one['what']} {duration(one['seconds'])}" for one in limits]
    if len(parts) <= 4:
        return listed(parts)
    rest = sorted(limits, key=lambda one: -one["seconds"])
    shown = [f"{one['what']} {duration(one['seconds'])}" for one in rest[:3]]
    others = duration(sum(one["seconds"] for one in rest[3:]))
    return listed([*shown, f"{len(rest) - 3} more of {others} in all"])


def workers_of(number: int) -> str:
    return "1 worker" if number == 1 else f"{number:,} workers"


def speedup_picture(plan: Row) -> str:
    """S(n): how many times as fast as one worker."""
    rows = predicted(plan)
    base, _ = alone(plan)
    times = {workers: base / seconds for workers, seconds in measured(plan).items()}
    top = 1.6 * max([row["speedup"] for row in rows.values()] + list(times.values()))
    x, y = workers_axis(rows), Axis(0.8, max(2.0, top), log=True)
    end = min(max(rows), y.high)
    parts = [frame(x, y, "workers (logarithmic)", "times as fast as one worker (logarithmic)")]
    ideal = joined([(across(x, 1), upward(y, 1)), (across(x, end), upward(y, end))])
    parts.append(f'<path d="{ideal}" stroke="#7b8794" stroke-dasharray="5 4" fill="none"/>')
    parts.append(curve(x, y, {workers: row["speedup"] for workers, row in rows.items()}, "× as fast"))
    parts.append(marks(x, y, times, "× as fast"))
    return svg("predicted speed-up against the number of workers", parts)


def efficiency_picture(plan: Row) -> str:
    """E(n): the share of the workers' time that is of use."""
    rows = predicted(plan)
    base, _ = alone(plan)
    shares = {workers: 100 * base / seconds / workers for workers, seconds in measured(plan).items()}
    values = {workers: 100 * row["efficiency"] for workers, row in rows.items()}
    x, y = workers_axis(rows), Axis(0.0, 1.05 * max(100.0, *values.values(), *shares.values()))
    parts = [frame(x, y, "workers (logarithmic)", "efficiency, %")]
    parts += [curve(x, y, values, "% efficiency"), marks(x, y, shares, "% efficiency")]
    return svg("predicted efficiency against the number of workers", parts)


def workers_axis(rows: dict[int, Row]) -> Axis:
    return Axis(0.8, max(3.0, 1.5 * max(rows)), log=True)


def svg(told: str, parts: Sequence[str]) -> str:
    label = f"{told}; the figures stand in the table"
    return f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def curve(x: Axis, y: Axis, values: dict[int, float], unit: str) -> str:
    """The prediction as a line, with a small dot that says its figures at each number of workers."""
    color = PALETTE[0]
    places = {n: (across(x, n), upward(y, value)) for n, value in values.items()}
    parts = [f'<path d="{joined(list(places.values()))}" fill="none" stroke="{color}" stroke-width="2"/>']
    if len(places) <= 60:
        for n, (px, py) in places.items():
            told = f"predicted, {workers_of(n)}: {significant(values[n])} {unit}"
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{color}"><title>{told}</title></circle>')
    return "".join(parts)


def marks(x: Axis, y: Axis, values: dict[int, float], unit: str) -> str:
    """What was measured, as diamonds."""
    color = PALETTE[1]
    parts = []
    for n, value in values.items():
        told = f"measured, {workers_of(n)}: {significant(value)} {unit}"
        shape = mark(2, across(x, n), upward(y, value))
        parts.append(f'<path d="{shape}" fill="{color}" stroke="#fff"><title>{told}</title></path>')
    return "".join(parts)


def key(plan: Row) -> str:
    """The legend."""
    curved = f'<path d="M1 7H25" stroke="{PALETTE[0]}" stroke-width="2"/>'
    shapes = [
        (f'{curved}<circle cx="13" cy="7" r="3" fill="{PALETTE[0]}"/>', "predicted"),
        ('<path d="M1 7H25" stroke="#7b8794" stroke-dasharray="5 4"/>', "every worker of full use"),
    ]
    if measured(plan):
        base = "" if alone(plan)[1] else ", beside the predicted time of one worker"
        shapes.append((f'<path d="{mark(2, 13, 7)}" fill="{PALETTE[1]}"/>', f"measured{base}"))
    items = (
        f'<li><svg width="26" height="14" aria-hidden="true">{shape}</svg>{text(words)}</li>' for shape, words in shapes
    )
    return f'<ul class="key">{"".join(items)}</ul>'


SHOWN = {step * 10**power for power in range(7) for step in (1, 2, 5)}


def plan_table(plan: Row) -> str:
    """Predicted and measured, for 1, 2, 5, 10, ... workers and every number that was measured."""
    found, lines = measured(plan), []
    for workers, row in predicted(plan).items():
        if workers not in SHOWN and workers not in found and workers != plan.get("workers"):
            continue
        seconds = found.get(workers)
        figures = (duration(row["seconds"]), significant(row["speedup"]), f"{100 * row['efficiency']:.1f} %")
        last = "" if seconds is None else duration(seconds)
        lines.append(("winner" if seconds is not None else "", (f"{workers:,}", *figures, last)))
    heads = ("#workers", "#predicted", "#times as fast", "#efficiency", "#measured")
    return grid(heads, lines, stacked=False)
