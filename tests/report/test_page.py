import re
import sys
from html.parser import HTMLParser

import pytest

from prunelle.errors import MissingExtraError
from prunelle.report.embed import lean, packed_json, unpacked_json
from prunelle.report.page import page_html, write_page
from prunelle.report.rows import Report

from .full_report import HOSTILE, full_report

pytest.importorskip("jinja2", reason="needs prunelle[report]")
pytest.importorskip("plotly", reason="needs prunelle[report]")


class Parts(HTMLParser):
    """The tags, ids and visible text of a page, as a browser would take it apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text.append(data)

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


SECTIONS = {"result", "costs", "layers", "training", "flips", "models", "notes", "commands", "files", "environment"}


@pytest.fixture(scope="module")
def full() -> str:
    return page_html(full_report())


def test_every_section_is_there(full):
    assert Parts(full).ids >= SECTIONS


def test_plotly_is_inlined_once_and_nothing_is_fetched(full):
    tags = Parts(full).tags
    assert full.count("plotly.js v") == 1
    assert [tag for tag, attributes in tags if "src" in attributes] == []
    assert [a["href"] for _, a in tags if "href" in a and not a["href"].startswith("#")] == ["data:,"]


def test_names_cannot_inject_html_or_script(full):
    parts = Parts(full)
    scripts = [attributes for tag, attributes in parts.tags if tag == "script"]
    assert len(scripts) == 3 and not any(tag == "img" for tag, _ in parts.tags)
    assert not any(name.startswith("on") for _, attributes in parts.tags for name in attributes)
    assert HOSTILE not in full and "{{ 7*7 }}" in full
    assert HOSTILE in "".join(parts.text), "it is shown as it stands"


def test_the_policy_admits_our_scripts_by_hash_and_no_request(full):
    policy = next(a["content"] for _, a in Parts(full).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "script-src 'unsafe-inline'" not in policy and "http" not in policy


def test_figures_are_json_with_short_numbers(full):
    embedded = re.search(r'id="figures">(.*?)</script>', full, re.DOTALL).group(1)
    figures = unpacked_json(embedded)
    assert {"cost-size", "cost-macs", "cost-latency", "layers-0-params", "curve-loss"} <= set(figures)
    assert figures["curve-loss"]["data"][0]["y"] == [2.0, 1.0, 0.6667]


def test_units_and_exact_values_stand_in_the_page(full):
    text = "".join(Parts(full).text)
    assert all(header in text for header in ("Size (KB)", "Latency (ms)", "Top-1 (%)", "Nonzero MACs (M)"))
    assert 'title="9,000 bytes" data-sort="9000">9.0</td>' in full
    assert "a mask alone has a speedup of 1.00×" in re.sub(r"\s+", " ", text)
    assert "not what was skipped" in text and "no change" in text


def test_an_empty_report_is_a_small_page_without_sections():
    html = page_html(Report("Nothing yet"))
    assert Parts(html).ids == {"figures"} and len(html) < 30_000
    assert "Nothing has been measured yet." in html


def test_rows_without_any_measurement_give_tables_and_no_chart():
    html = page_html(Report("Bare", rows=[{"id": "a"}, {}]))
    assert {"result", "models"} <= Parts(html).ids and "costs" not in Parts(html).ids


def test_write_page_makes_the_folder_and_returns_the_path(tmp_path):
    path = write_page(Report("Café \udcff"), tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert "Café \\udcff" in path.read_text(encoding="utf-8")


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"jinja2 is not installed; .*pip install prunelle\[report\]"):
        write_page(Report("x"), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_json_inside_a_script_cannot_end_it_and_is_the_same_each_time():
    value = ["</script><!--", "a&b", float("nan"), 0.123456789]
    packed = packed_json(value)
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", packed) and packed_json(value) == packed
    assert unpacked_json(packed) == ["</script><!--", "a&b", None, 0.123457]


def test_lean_changes_nothing_but_floats():
    assert lean({"a": (1, True, "x", None)}) == {"a": [1, True, "x", None]}
