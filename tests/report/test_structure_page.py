"""The picture of what can shrink: every layer and set is there, grey ones with their reason, names as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prunelle.errors import DiskError
from prunelle.report.structure import STAYS, structure_html, write_structure

EVIL = "<script>x</script>&\"'"
FOUND = {
    "model": EVIL,
    "macs_share": 0.5,
    "proved": True,
    "sets": [
        {"name": "a", "channels": 8, "can_go": 7, "layers": ["a", "c"], "params": 10, "macs": 2_000},
        {"name": EVIL, "channels": 4, "can_go": 3, "layers": [EVIL], "params": 1, "macs": 1},
    ],
    "layers": [
        {"layer": "a", "params": 10, "macs": 2_000, "channels": 8, "free": 8, "sets": ["a"], "why": ""},
        {"layer": EVIL, "params": 5, "macs": 1_000, "channels": 4, "free": 4, "sets": [EVIL], "why": ""},
        {"layer": "both", "params": 0, "macs": 0, "channels": 12, "free": 12, "sets": ["a", EVIL], "why": ""},
        {"layer": "head", "params": 1, "macs": 3, "channels": 9, "free": 0, "sets": [], "why": f"stays {EVIL}"},
    ],
    "frozen": [{"what": "head", "why": f"stays {EVIL}"}],
}


def test_every_layer_is_a_row_with_bars_in_the_colour_of_its_set() -> None:
    page = structure_html(FOUND)
    rows = re.findall(r'<tr class="([^"]*)" title="([^"]*)"><td>([^<]*)</td>(.*?)</tr>', page)
    assert [marks for marks, *_ in rows] == ["s0", "s1", "s0 s1", "frozen"]
    assert "width:150.0px" in rows[0][3] and "width:75.0px" in rows[1][3]
    assert STAYS in rows[3][3] and STAYS not in rows[0][3]
    assert rows[3][1].startswith("stays ") and rows[0][1] == "8 of 8 channels are in a"
    assert "3 of 4 layers can lose channels, in 2 sets; 50.0 % of the multiply-adds hang on them" in page


def test_names_are_shown_and_never_read() -> None:
    page = structure_html(FOUND)
    assert "<script" not in page and page.count("&lt;script&gt;") > 4
    assert "default-src 'none'" in page and "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_nothing_to_show_is_still_a_page(tmp_path: Path) -> None:
    empty = FOUND | {"model": "m", "sets": [], "layers": [], "frozen": []}
    path = write_structure(empty, tmp_path / "deep" / "page.html")
    assert "Stays as it is" not in path.read_text() and "0 of 0 layers" in path.read_text()
    with pytest.raises(DiskError):
        write_structure(empty, tmp_path)
