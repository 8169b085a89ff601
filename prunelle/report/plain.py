"""The frame of a page of plain HTML and CSS: offline, nothing to install; a script only where one is handed in."""

from __future__ import annotations

import html
from pathlib import Path

from prunelle.report.embed import script_hash

HERE = Path(__file__).parent
POLICY = "default-src 'none';{} style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def plain_page(title: str, brand: str, summary: str, style: str, body: str, script: str = "") -> str:
    """A whole page. title, brand, summary: texts, shown as they stand. style: CSS after page.css. body: HTML.

    script: the only one that the page's policy admits, by its hash; without it none.
    """
    policy = POLICY.format(f" script-src '{script_hash(script)}';" if script else "")
    end = f"<script>{script}</script>\n" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="Prunelle">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{styles("page.css")}{style}</style>
</head>
<body>
<header><div class="brand">{text(brand)}</div><h1>{text(title)}</h1>
<p class="summary">{text(summary)}</p></header>
<main>
{body}
</main>
{end}</body>
</html>
"""


def styles(*names: str) -> str:
    """The CSS files of this room, one after the other."""
    return "".join((HERE / name).read_text(encoding="utf-8") for name in names)


def text(value: object) -> str:
    """What a browser shows as it stands."""
    return html.escape(str(value))
