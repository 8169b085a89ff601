"""Error barriers: whether two trainings of one ticket end in one valley, against the share of weights kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunelle.report.axes import Axis
from prunelle.report.fitted_tables import grid
from prunelle.report.frame import HEIGHT, WIDTH, frame
from prunelle.report.groups import Spread, spread
from prunelle.report.lines import Line, drawn, ramp, spot
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.tickets_picture import kept_axis
from prunelle.report.tickets_words import origin, share


@dataclass(frozen=True)
class Barrier:
    """Of the twins of one rewinding point and share kept; value: a fraction, over seeds."""

    rewind: int
    kept: float
    value: Spread


def barriers(rows: Sequence[Row]) -> list[Barrier]:
    """Of all twins, the most kept first."""
    known: dict[tuple[float, int], list[float | None]] = {}
    for row in rows:
        if row["variant"] == "twin" and (value := number(row.get("barrier"))) is not None:
            known.setdefault((-row["kept"], row["rewind"]), []).append(value)
    found = [(rewind, -kept, spread(values)) for (kept, rewind), values in sorted(known.items())]
    return [Barrier(rewind, kept, value) for rewind, kept, value in found if value is not None]


def barrier_picture(found: Sequence[Barrier], rewinds: Mapping[int, float | None]) -> str:
    """The SVG, a line a rewinding point. found: not empty."""
    x = kept_axis([one.kept for one in found])
    high = max(100 * one.value.high for one in found)
    low = min(0.0, *(100 * one.value.low for one in found))
    y = Axis(low - 0.04 * max(1.0, high - low), max(1.0, 1.08 * high))
    parts = []
    for index, ((rewind, epoch), color) in enumerate(zip(rewinds.items(), ramp(max(1, len(rewinds))), strict=True)):
        spots = []
        for one in found:
            if one.rewind == rewind:
                words = f"{origin(rewind, epoch)}, {share(one.kept)} kept: {figures(one.value)} points"
                spots.append(spot(one.kept, one.value, words))
        if spots:
            parts.append(drawn(Line(spots, color, index), x, y))
    told = "error barrier between two trainings of a ticket against the share of weights kept; the figures stand beside"
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">'
        f"{frame(x, y, 'weights kept, % (logarithmic)', 'error barrier, points')}{''.join(parts)}</svg>"
    )


def figures(value: Spread) -> str:
    """In points.

    >>> figures(Spread(0.02, 0.01, 0.03, 3)), figures(Spread(0.02, 0.02, 0.02, 1))
    ('2.00, 1.00 to 3.00', '2.00')
    """
    middle, low, high = (f"{100 * one:.2f}" for one in (value.median, value.low, value.high))
    return middle if low == high else f"{middle}, {low} to {high}"


def barrier_table(found: Sequence[Barrier], rewinds: Mapping[int, float | None]) -> str:
    """A row a share kept, a column a rewinding point."""
    values = {(one.kept, one.rewind): figures(one.value) for one in found}
    lines = [
        ("", (share(kept), *(text(values.get((kept, rewind), "")) for rewind in rewinds)))
        for kept in dict.fromkeys(one.kept for one in found)
    ]
    return grid(("#kept", *(f"#{origin(*point)}" for point in rewinds.items())), lines, stacked=False)
