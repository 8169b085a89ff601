"""The frame of a page of plain HTML and CSS: offline, without a script, nothing to install."""

from __future__ import annotations

import html
from pathlib import Path

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def plain_page(title: str, brand: str, summary: str, style: str, body: str) -> str:
    """A whole page. title, brand, summary: texts, shown as they stand. style: CSS after page.css. body: HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="Prunelle">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{(HERE / "page.css").read_text(encoding="utf-8")}{style}</style>
</head>
<body>
<header><div class="brand">{text(brand)}</div><h1>{text(title)}</h1>
<p class="summary">{text(summary)}</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def text(value: object) -> str:
    """What a browser shows as it stands."""
    return html.escape(str(value))
