from html.parser import HTMLParser

from prunelle.report.speed import Speeds, ratio_text, speeds_html, write_speeds

ROWS = [
    {"name": "eager", "runtime": "eager", "median_ms": 2.0, "p95_ms": 2.5, "p99_ms": 3.0, "ratio": 1.0}
    | {"ratio_low": 1.0, "ratio_high": 1.0, "size_bytes": None},
    {"name": "onnx fp32", "runtime": "onnxruntime", "median_ms": 0.5, "p95_ms": 0.6, "p99_ms": 0.7, "ratio": 4.0}
    | {"ratio_low": 3.9, "ratio_high": 4.1, "size_bytes": 1234567, "winner": True}
    | {"parity": {"equal": 1.0, "error": 3e-7, "top1_before": 0.9, "top1_after": 0.91}},
    {"name": "native fp32", "runtime": "native", "status": "refused", "why": "an output is off by <b>1</b>"},
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_bars_are_as_long_as_their_times_and_the_winner_stands_out():
    page = speeds_html(Speeds("t", "s", ROWS))
    tags = Tags()
    tags.feed(page)
    widths = [float(a["style"].split("width:")[1].split("px")[0]) for tag, a in tags.found if tag == "span"]
    assert widths == [260.0, 65.0]
    assert [a["class"] for tag, a in tags.found if tag == "tr" and a.get("class")] == ["winner", "out"] * 2
    for said in ("4.00 (3.90 to 4.10)", "1,234,567", "90.00 → 91.00 %", "100.00 %", "shipped"):
        assert said in page


def test_names_are_text_and_nothing_is_loaded():
    page = speeds_html(Speeds("<script>x</script>", "s", ROWS, command="rm <x>"))
    assert "<script" not in page and "&lt;b&gt;1&lt;/b&gt;" in page and "rm &lt;x&gt;" in page
    assert "http://" not in page and "https://" not in page


def test_sizes_and_layers_have_a_section_only_where_there_are_any(tmp_path):
    layer = {"layer": "conv1", "kernel": "sparse", "us": 2.0, "dense_macs": 1000, "macs": 100}
    layer |= {"measured": 5.25, "theoretical": 10.0}
    full = speeds_html(Speeds("t", "s", ROWS, {"dense": 100, "packed": 25, "native": None}, [layer], ["note"]))
    assert "4.00" in full and "5.25" in full and "10.00" in full and "note" in full
    bare = speeds_html(Speeds("t", "s", ROWS[:1]))
    for key in ("sizes", "layers", "notes"):
        assert f'id="{key}"' in full and f'id="{key}"' not in bare
    assert write_speeds(Speeds("t", "s", ROWS), tmp_path / "a" / "b.html").read_text().startswith("<!doctype html>")


def test_a_ratio_without_an_interval_is_a_number():
    assert (ratio_text({"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}), ratio_text({})) == ("1.00", "")
