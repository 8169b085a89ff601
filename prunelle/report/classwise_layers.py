"""What is left of every layer in every member, as a picture: a row a layer, a column a member."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report.classwise_order import shortened
from prunelle.report.classwise_scale import OWN, Scale
from prunelle.report.classwise_tables import kept
from prunelle.report.plain import text
from prunelle.report.rows import Row

KEPT = Scale(0.0, 1.0)
LONGEST = 30
TOP = 40
ROOM = 34
"""So wide a cell has room for its value."""


def layers_in_order(rows: Sequence[Row]) -> list[str]:
    """Every layer once, in the order in which it runs; one that the first member lacks stands after the layer that
    precedes it elsewhere.

    >>> rows = [{"member": m, "layer": name} for m, names in ((1, "ad"), (2, "abd")) for name in names]
    >>> layers_in_order(rows)
    ['a', 'b', 'd']
    """
    found: list[str] = []
    for member in dict.fromkeys(row["member"] for row in rows):
        place = 0
        for name in (row["layer"] for row in rows if row["member"] == member):
            if name not in found:
                found.insert(place, name)
            place = found.index(name) + 1
    return found


def layers_picture(rows: Sequence[Row]) -> str:
    """The SVG; darker: more of the layer's channels are left."""
    layers, members = layers_in_order(rows), list(dict.fromkeys(row["member"] for row in rows))
    high = 16 if len(layers) <= 60 else 12
    wide = min(72.0, max(11.0, 660 / len(members)))
    left = 6.4 * max(len(shortened(name, LONGEST)) for name in layers) + 14
    down = {name: TOP + high * place for place, name in enumerate(layers)}
    along = {name: left + wide * place for place, name in enumerate(members)}
    width, height = max(left + wide * len(members) + 6, left + 70), TOP + high * len(layers) + 6
    parts = [f'<text class="title" x="{left:.1f}" y="13">member</text>']
    parts += [label(name, left - 6, y + high / 2) for name, y in down.items()]
    parts += [heading(row, along[row["member"]] + wide / 2, wide) for row in firsts(rows)]
    parts += [cell(row, along[row["member"]], down[row["layer"]], wide, high) for row in rows]
    told = "share of every layer’s channels that each member keeps; the figures stand in the table below"
    return (
        f'<div class="heatbox" tabindex="0" role="region" aria-label="layers of the members">'
        f'<svg class="picture heat" style="--letter:{min(11.5, 0.78 * high):.1f}px;min-width:{min(width, 340):.0f}px;'
        f'max-width:{width:.0f}px" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{told}">'
        f"{''.join(parts)}</svg></div>"
    )


def firsts(rows: Sequence[Row]) -> list[Row]:
    """A row a member."""
    return list({row["member"]: row for row in rows}.values())


def label(name: str, x: float, y: float) -> str:
    tip = f"<title>{text(name)}</title>" if len(str(name)) > LONGEST else ""
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="end">{text(shortened(name, LONGEST))}{tip}</text>'


def heading(row: Row, x: float, wide: float) -> str:
    """The member's number; turned where columns are narrow."""
    tip = f"<title>member {text(row['member'])}: {text(row.get('classes') or '')}</title>"
    name = text(shortened(row["member"], 5))
    if wide >= 22:
        return f'<text class="member" x="{x:.1f}" y="{TOP - 6}" text-anchor="middle">{name}{tip}</text>'
    return f'<text transform="translate({x + 4:.1f} {TOP - 4}) rotate(-90)">{name}{tip}</text>'


def cell(row: Row, x: float, y: float, wide: float, high: float) -> str:
    share = kept(row)
    where = f"member {row['member']}, {row['layer']}"
    told = where if share is None else f"{where}: {row['channels']:,} of {row['channels_dense']:,} channels"
    for key, name in (("params", "parameters"), ("macs", "multiply-adds")):
        if row.get(key) is not None and row.get(f"{key}_dense") is not None:
            told += f", {row[key]:,} of {row[f'{key}_dense']:,} {name}"
    color = OWN if share is None else KEPT.color(share)
    box = f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{high}" fill="{color}" stroke="#fff">'
    parts = [f"{box}<title>{text(told)}</title></rect>"]
    if share is not None and wide >= ROOM:
        light = ' class="light"' if KEPT.dark(share) else ""
        at = f'x="{x + wide / 2:.1f}" y="{y + high / 2 + 4:.1f}"'
        parts.append(f'<g class="values"><text{light} {at}>{100 * share:.0f}</text></g>')
    return "".join(parts)


def uneven(rows: Sequence[Row]) -> str:
    """The layer of which the members keep most differently, '' where there is nothing to compare."""
    shares: dict[str, list[float]] = {}
    for row in rows:
        if (share := kept(row)) is not None:
            shares.setdefault(row["layer"], []).append(share)
    if len({row["member"] for row in rows}) < 2 or not shares:
        return ""
    name, found = max(shares.items(), key=lambda one: max(one[1]) - min(one[1]))
    if max(found) == min(found):
        return "All members keep the same share of every layer’s channels."
    return (
        f"The members differ most in {name}: between {100 * min(found):.0f} % and {100 * max(found):.0f} % of its "
        "channels are left."
    )
