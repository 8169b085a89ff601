"""The page of a search: which file to take stands first, every figure is a row's, names are text, dots stand right."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from prunelle.errors import DiskError
from prunelle.report.fitted import Fitted, fitted_html, write_fitted
from prunelle.report.fitted_key import FAMILIES, family
from prunelle.report.fitted_picture import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scene,
    below_edge,
    picture,
    score_axis,
)
from prunelle.report.fitted_words import Limit, limits_of, reason, verdict

EVIL = "<script>x</script>&\"'"
VOID = {"meta", "link", "br", "input"}


def row(name: str, top1: float, ms: float, size: int, techniques: tuple[str, ...] = (), **more) -> dict:
    """A file that is fit; of a dense network at 90 %, 1 ms."""
    found = {
        "id": name, "name": f"{name}; native fp32", "file": "native fp32", "techniques": list(techniques), "epochs": 0,
        "status": "fit", "why": "", "val_top1": top1, "drop": 90 - 100 * top1, "drop_error": 0.1, "median_ms": ms,
        "share": ms, "share_low": ms - 0.01, "share_high": ms + 0.01, "size_bytes": size, "params": 1000, "nnz": 900,
        "front": True, "met": False, "chosen": False, "command": f"make {name}", "path": f"files/{name}",
    }  # fmt: skip
    return found | more


BEST = row("90 % zeros, 8 epochs", 0.8975, 0.2, 40_000, ("zeros",), met=True, chosen=True)
FAST = row("50 % channels", 0.88, 0.1, 60_000, ("channels", "int16"))
PLAIN = row("dense", 0.9, 1.0, 100_000, front=False)
LOST = row("95 % zeros", 0.1, 0.1, 5_000, ("zeros", "sharing"))
REFUSED = row("4 blocks", 0.0, 0.0, 0, ("blocks",)) | {"status": "refused", "why": "off by 5", "front": False}
CLASSES = [{"class": EVIL, "num": 1000, "top1_before": 0.9, "top1_after": 0.897, "lost": 5, "gained": 2}]
TEST = {"top1": 0.897, "top1_dense": 0.9, "drop": 0.3, "num_test": 1000, "per_class": CLASSES}
TEST |= {"interval": (0.876, 0.914), "interval_dense": (0.88, 0.917), "drop_error": 0.26}
DENSE = {"name": "onnxruntime", "val_top1": 0.9, "median_ms": 1.0, "share": 1.0, "size_bytes": 100_000}
DENSE |= {"size_of": "as onnx fp32", "params": 1000, "nnz": 1000}
BUDGET = {"max_ms": 0.5, "max_ratio": None, "max_kb": 50, "max_drop": 0.5}


def found(**changed) -> Fitted:
    values = {
        "title": "t", "summary": "s", "take": "o/best/model.so", "budget": BUDGET, "dense": DENSE, "test": TEST,
        "rows": [BEST, FAST, PLAIN, LOST, REFUSED], "command": "prunelle fit m", "environment": {"cpu": "c"},
    }  # fmt: skip
    return Fitted(**(values | changed))


class Page(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.seen if name == tag]


def words(page: str) -> str:
    """What is read, without tags and styles."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))


def test_the_answer_stands_first_and_its_figures_are_the_rows():
    page = fitted_html(found())
    Page(page)
    answer = words(page[page.index('id="answer"') : page.index('id="beside"')])
    for said in (
        "The budget is met: every limit is kept.",
        "Take o/best/model.so : 90 % of the weights zero, 8 epochs of training; a C library made for this network",
        "It takes 0.200 ms an image, 0.20 of the dense network’s time; it is 40.0 KB and 0.30 points less accurate",
        "(89.70 % instead of 90.00 % on the test split)",
        "at most 0.5 ms: ✓ kept",
        "at most 50 KB: ✓ kept",
        "at most 0.5 points lost: ✓ kept",
        "−0.30 ± 0.26 points",
        "0.4 × dense (as onnx fp32)",
        "Of the 4 files that were made and measured this is the only one that keeps every limit",
    ):
        assert said in answer, said
    assert page.index('id="answer"') < page.index("<table")


def test_the_file_stands_beside_the_dense_network():
    page = fitted_html(found())
    beside = words(page[page.index('id="beside"') : page.index('id="pictures"')])
    for said in (
        "90.00 % 88.00 % to 91.70 %",
        "89.70 % 87.60 % to 91.40 % −0.30 ± 0.26 points",
        "1.00 0.200 0.200 × dense (0.190 to 0.210)",
        "100.0 as onnx fp32 40.0",
        "of these not zero 1,000 900",
    ):
        assert said in beside, said
    assert beside.count("✓ yes") == 3


def test_a_limit_that_is_missed_on_the_test_split_is_not_met():
    test = TEST | {"drop": 0.75}
    page = words(fitted_html(found(test=test, missed={"drop": 1.25}, nearest={"drop": BEST})))
    assert "The budget was not met: it loses 0.75 points where 0.5 are allowed." in page
    assert "The nearest file is o/best/model.so" in page and "Take o/best" not in page
    assert (
        "1 of the 4 files that were made and measured keeps every limit on the validation split, this one among" in page
    )


def test_a_budget_that_no_file_keeps_names_the_nearest_on_each_limit():
    budget = BUDGET | {"max_ms": 0.05, "max_kb": 30}
    rows = [BEST | {"met": False}, FAST, PLAIN]
    nearest = {"ms": FAST, "kb": BEST, "drop": BEST}
    page = fitted_html(found(budget=budget, rows=rows, missed={"ms": 4.0, "kb": 4 / 3}, nearest=nearest))
    assert "not met: time is 0.150 ms over the limit of 0.05 ms, and size is 10.0 KB over the limit of 30 KB." in page
    near = words(page[page.index('id="near"') : page.index('id="beside"')])
    assert near.count("chosen") == 1 and "size at most 30 KB accuracy at most 0.5 points lost" in near
    assert "time 2 × the limit size 2 × the limit accuracy 1.50 points over" in near
    assert "None of the 3 files" in page and 'id="near"' not in fitted_html(found())


def test_names_are_text_and_nothing_is_loaded():
    evil = BEST | {"name": f"{EVIL}; {EVIL}", "file": EVIL, "command": EVIL, "path": EVIL, "techniques": [EVIL]}
    refused = REFUSED | {"why": EVIL, "name": EVIL, "file": EVIL}
    files = [{"path": EVIL, "bytes": 7, "what": EVIL}]
    page = fitted_html(
        found(rows=[evil, refused], title=EVIL, summary=EVIL, take=EVIL, files=files, command=EVIL,
              environment={EVIL: EVIL}, dense=DENSE | {"name": EVIL, "size_of": EVIL}, metric=EVIL,
              nearest={"kb": evil}, missed={"kb": 2.0})
    )  # fmt: skip
    assert "<script" not in page and page.count("&lt;script&gt;") > 20 and not Page(page).all("script")
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "") and "default-src 'none'" in page


def test_each_technique_alone_has_its_best_file_and_everything_tried_is_there():
    alone = row("70 % channels", 0.85, 0.3, 70_000, ("channels",))
    page = fitted_html(found(rows=[BEST, FAST, alone, PLAIN, LOST, REFUSED]))
    part = page[page.index('id="alone"') : page.index('id="frontier"')]
    firsts = re.findall(r'<tr[^>]*><td data-label="technique">([^<]*)</td>', part)
    assert firsts == ["the chosen file", "zeros", "channels", "nothing removed, another runtime"]
    assert "Only tried together with others: int16, sharing." in part
    front = page[page.index('id="frontier"') : page.index('id="tried"')]
    assert front.count("make ") == 4 and "make dense" not in front
    tried = page[page.index('id="tried"') : page.index('id="classes"')]
    assert "6 candidates" in tried and "1 gave no file" in tried and "off by 5" in tried


def test_parts_without_content_are_left_out(tmp_path):
    one = BEST | {"techniques": []}
    page = fitted_html(found(rows=[one], test={**TEST, "per_class": []}, dense={"val_top1": 0.9}))
    Page(page)
    for key in ("classes", "files", "near"):
        assert f'id="{key}"' not in page
    assert "No other file was made." in page
    assert write_fitted(found(), tmp_path / "deep" / "page.html").read_text().startswith("<!doctype html>")
    with pytest.raises(DiskError):
        write_fitted(found(), tmp_path)


def scene(rows=(BEST, FAST, PLAIN, LOST), cost="kb", budget=BUDGET) -> Scene:
    return Scene(rows, BEST, DENSE, limits_of(budget), cost)


def test_accuracy_reaches_down_by_four_times_what_is_allowed_and_the_rest_stands_at_the_edge():
    axis = score_axis(scene([BEST, PLAIN, LOST]))
    assert axis.low == pytest.approx(90 - 4 * 0.5) and 90 < axis.high < 90.3
    assert below_edge(scene()) == 1
    drawn = picture(scene())
    assert drawn.count("h10l-5 8z") == 1 and "10.00 %" in drawn
    lower = [row(f"r{n}", 0.87, 0.1, 9_000) for n in range(5)]
    assert score_axis(scene([BEST, LOST, *lower])).low == pytest.approx(90 - 1.05 * 3)
    assert score_axis(scene([BEST, LOST, LOST, LOST])).low == pytest.approx(90 - 8 * 0.5)
    no_limit = score_axis(scene([BEST, PLAIN, PLAIN, LOST], budget={"max_kb": 50}))
    assert no_limit.low == pytest.approx(90 - 6 * 0.1)
    assert score_axis(scene(budget={"max_drop": 1000.0})).low < 10
    assert score_axis(Scene([BEST], BEST, {"val_top1": 0.8975}, [], "kb")).low < 89.75


def test_dots_and_limits_stand_where_their_figures_are():
    drawn = picture(scene((BEST, PLAIN)))
    y = score_axis(scene((BEST, PLAIN)))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    best = LEFT + wide * 40 / 108, HEIGHT - BOTTOM - high * (89.75 - y.low) / (y.high - y.low)
    assert f'<circle cx="{best[0]:.1f}" cy="{best[1]:.1f}" r="5.5" fill="{FAMILIES["zeros"][0]}"' in drawn
    assert f'M{LEFT + wide * 50 / 108:.1f} {TOP}V{HEIGHT - BOTTOM}" fill="none" stroke="#b3261e"' in drawn
    assert "limit 50 KB" in drawn and "limit −0.5 points" in drawn and drawn.count("chosen") == 1
    stairs = f"M{best[0]:.1f} {HEIGHT - BOTTOM}H{best[0]:.1f}V{best[1]:.1f}H"
    assert stairs in drawn


def test_words_cover_no_dot():
    rows = [BEST, *(row(f"r{n}", 0.8975 - n / 2000, 0.2 + n / 30, 40_000 + 3_000 * n) for n in range(1, 12))]
    for cost in ("ms", "kb", "share"):
        drawn = picture(scene(rows, cost))
        dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5.5"', drawn)]
        placed = re.findall(r'<text class="halo \w+" x="([\d.]+)" y="([\d.]+)">([^<]+)<', drawn)
        assert len(placed) == 3
        for x, y, told in placed:
            left, right, top = float(x), float(x) + 7 * len(told), float(y) - 10
            assert left >= LEFT and right <= WIDTH
            assert not [dot for dot in dots if left < dot[0] < right and top < dot[1] < float(y)], told


def test_words_at_the_limits():
    kept, over = {"share": 0.25, "drop": 0.5}, {"share": 0.75, "drop": 0.5 + 1e-12}
    share, drop = Limit("share", 0.5), Limit("drop", 0.5)
    assert share.missed(kept) == drop.missed(over) == "" and share.missed(over) == "0.250 of the dense time over"
    assert verdict([share], kept) == "The budget is met: the limit is kept."
    assert (family(BEST), family(FAST), family(PLAIN)) == ("zeros", "channels", "dense")
    assert family({"techniques": ["zeros", "blocks"]}) == "several"


def test_the_reason_claims_only_what_is_so():
    other = FAST | {"met": True, "val_top1": 0.8975, "drop": 0.25}
    limits = limits_of(BUDGET)
    assert reason([BEST, other], limits, BEST, True).endswith("of these 2 none is more accurate than this one.")
    dearer = other | {"median_ms": 0.9}
    assert reason([BEST, dearer], limits, BEST, True).endswith("and none that equals it costs less in time × size.")
    better = other | {"val_top1": 0.8999}
    assert "this one is the best of those that were measured a second time" in reason(
        [BEST, better], limits, BEST, True
    )
    only = limits_of({"max_drop": 0.5})
    slower = other | {"median_ms": 0.3}
    assert "this one is the fastest of those" in reason([BEST, slower], only, BEST, True)
    unsure = other | {"drop": 0.45, "median_ms": 0.1}
    assert "this one is the fastest of those" in reason([BEST, unsure], only, BEST, True)
    assert "measured a second time" in reason([BEST, other], only, BEST, True)
