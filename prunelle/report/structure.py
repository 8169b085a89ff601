"""What of a network can shrink, as one offline HTML file: a bar a layer, coloured by its set, grey where it stays.

Plain HTML and CSS: no script, and nothing to install.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prunelle.report.plain import plain_page, text
from prunelle.report.rows import write_text
from prunelle.report.style import colors_of

STAYS = "#b8c0c9"
CSS = """
#layers td { padding: 3px 10px; border-bottom: 0; vertical-align: middle; }
#layers .bar { min-width: 180px; }
.bar span { display: inline-block; height: 12px; border-radius: 2px; vertical-align: middle; min-width: 2px; }
.bar small { display: inline; margin-left: 6px; color: var(--soft); font-size: 12px; }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
td.why { white-space: normal; min-width: 22em; }
"""


def write_structure(found: Mapping[str, Any], path: Path | str) -> Path:
    """Write the page and return its path; folders on the way are made. found: as recipes.structure gives it.

    Raises DiskError.
    """
    target = Path(path)
    write_text(target, structure_html(found))
    return target


def structure_html(found: Mapping[str, Any]) -> str:
    """The page as text; names are shown as they stand, never read as HTML."""
    names = [one["name"] for one in found["sets"]]
    colors = colors_of(names)
    number = {name: position for position, name in enumerate(dict.fromkeys(names))}
    light = "\n".join(f"body:has(.s{n}:hover) .s{n} td {{ background: #fbf6e6; }}" for n in number.values())
    title = f"What can shrink in {found['model']}"
    body = f"""<section id="layers"><h2>Layers in the order they run</h2>
<p class="hint">One colour is one set: its channels go together or not at all; point at a row to see all of its set.
Grey layers keep the channels they give, though what they read may shrink; point at them for the reason.</p>
{layers_table(found["layers"], colors, number)}</section>
<section id="sets"><h2>Sets of tied channels</h2>
<p class="hint">Parameters and multiply-adds are those that would go with all of a set; a layer between two sets counts
in both.</p>
{sets_table(found, colors, number)}</section>
{frozen_section(found["frozen"])}"""
    return plain_page(title, "Prunelle inspect", summary(found), CSS + light, body)


def summary(found: Mapping[str, Any]) -> str:
    """The headline in one sentence.

    >>> layers = [{"channels": 8, "free": 8}, {"channels": 8, "free": 0}]
    >>> summary({"sets": [{}], "layers": layers, "macs_share": 0.75, "proved": False})
    '1 of 2 layers can lose channels, in 1 set; 75.0 % of the multiply-adds hang on them. Read from the graph alone: \
no trial cut could be made.'
    """
    layers = [one for one in found["layers"] if one["channels"]]
    free = [one for one in layers if one["free"]]
    plural = "set" if len(found["sets"]) == 1 else "sets"
    held = (
        "Half of it was cut for a trial and equalled the masked network."
        if found["proved"]
        else "Read from the graph alone: no trial cut could be made."
    )
    return (
        f"{len(free)} of {len(layers)} layers can lose channels, in {len(found['sets'])} {plural}; "
        f"{100 * found['macs_share']:.1f} % of the multiply-adds hang on them. {held}"
    )


def layers_table(layers: Sequence[Mapping[str, Any]], colors: Mapping[str, str], number: Mapping[str, int]) -> str:
    """A row a layer, with bars of its multiply-adds and parameters."""
    largest = {key: max([one[key] for one in layers] + [1]) for key in ("macs", "params")}
    rows = []
    for one in layers:
        color = colors[one["sets"][0]] if one["sets"] else STAYS
        marks = " ".join(f"s{number[name]}" for name in one["sets"]) or "frozen"
        bars = "".join(
            f'<td class="bar"><span style="width:{150 * one[key] / largest[key]:.1f}px;background:{color}"></span>'
            f"<small>{one[key]:,}</small></td>"
            for key in ("macs", "params")
        )
        belongs = ", ".join(one["sets"]) or ("stays" if one["channels"] else "follows")
        tip = one["why"] if not one["free"] else f"{one['free']} of {one['channels']} channels are in {belongs}"
        rows.append(
            f'<tr class="{marks}" title="{text(tip)}"><td>{text(one["layer"])}</td>{bars}'
            f'<td class="num">{one["channels"] or ""}</td><td>{dot(color)}{text(belongs)}</td></tr>'
        )
    return table(("layer", "multiply-adds", "parameters", "channels", "set"), rows)


def sets_table(found: Mapping[str, Any], colors: Mapping[str, str], number: Mapping[str, int]) -> str:
    """A row a set."""
    rows = []
    for one in found["sets"]:
        figures = (one["channels"], one["can_go"], one["params"], one["macs"])
        cells = "".join(f'<td class="num">{figure:,}</td>' for figure in figures)
        rows.append(
            f'<tr class="s{number[one["name"]]}"><td>{dot(colors[one["name"]])}{text(one["name"])}</td>{cells}'
            f'<td class="why">{text(", ".join(one["layers"]))}</td></tr>'
        )
    return table(("set", "channels", "can go", "parameters", "multiply-adds", "layers"), rows)


def frozen_section(frozen: Sequence[Mapping[str, str]]) -> str:
    """What stays, and why; empty when nothing does."""
    rows = [
        f'<tr><td>{text(one["what"] or "the model")}</td><td class="why">{text(one["why"])}</td></tr>' for one in frozen
    ]
    return f'<section id="frozen"><h2>Stays as it is</h2>{table(("what", "why"), rows)}</section>' if rows else ""


def table(headers: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{text(header)}</th>' for header in headers)
    body = "".join(rows)
    return f'<div class="scroll stacked"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def dot(color: str) -> str:
    return f'<span class="dot" style="background:{color}"></span>'
