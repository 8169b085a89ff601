"""What a search leaves to read, from a hand-made outcome: the files hold the rows, the page says which file to take."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from prunelle.files import sha256
from prunelle.fit.budget import Budget, nearest
from prunelle.fit.candidates import CHANNELS, ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.outcome import Outcome, Place
from prunelle.fit.pages import fitted, paired_error, placed, write_pages
from prunelle.ship.shipped import Counts, File, Shipped, write_shipped

DENSE = Entry(Candidate((), (), "onnx", "fp32"), "fit", runtime="onnxruntime", size_bytes=100_000, median_ms=1.0,
              p95_ms=1.1, share=1.0, share_low=0.99, share_high=1.01, val_top1=0.9, params=25_000,
              nnz=25_000)  # fmt: skip
ZEROED = Entry(Candidate((Cut(ZEROS, 0.9),), (2,), "native", "fp32"), "fit", runtime="native", size_bytes=40_000,
               median_ms=0.25, p95_ms=0.3, share=0.25, share_low=0.24, share_high=0.26, val_top1=0.897, drop=0.3,
               drop_error=0.1, params=25_000, nnz=2_500, final=True)  # fmt: skip
CUT = replace(ZEROED, candidate=Candidate((Cut(CHANNELS, 0.5),), (), "native", "int16"), size_bytes=12_000,
              median_ms=0.125, share=0.125, val_top1=0.88, drop=2.0, final=False)  # fmt: skip
REFUSED = Entry(Candidate((Cut(ZEROS, 0.5),), (), "onnx", "int8"), "refused", why="off by <b>5</b>")
CLASSES = [
    {"class": "<cat>", "num": 500, "top1_before": 0.9, "top1_after": 0.88, "lost": 30, "gained": 20},
    {"class": "dog", "num": 500, "top1_before": 0.9, "top1_after": 0.91, "lost": 0, "gained": 5},
]


def outcome(out: Path, budget: Budget, chosen: Entry = ZEROED, **changed) -> Outcome:
    """A search that tried these four; its folder holds a ship.json and a file of 40,000 bytes."""
    best = out / "best"
    best.mkdir(parents=True)
    (best / "model.so").write_bytes(bytes(chosen.size_bytes))
    file = File(size_bytes=chosen.size_bytes, runs=True, sha256=sha256(bytes(chosen.size_bytes)))
    shipped = Shipped(
        format=chosen.candidate.format, precision=chosen.candidate.precision, runtime="native", model="m",
        source_sha256="0" * 64, input_shape=[1, 8, 8], num_classes=2, files={"model.so": file},
        sizes_bytes={"dense_safetensors": 99_000}, parity=None, asked={}, environment={},
        counts=Counts(params=1, nnz=1, sparsity=0.0),
    )  # fmt: skip
    write_shipped(shipped, best)
    entries = changed.pop("entries", (DENSE, ZEROED, CUT, REFUSED))
    entries = tuple(sorted(entries, key=budget.rank))
    found = Outcome(
        budget=budget, chosen=chosen, met=True, folder=best, entries=entries, nearest=nearest(budget, entries),
        top1=0.895, top1_dense=0.9, test_drop=0.5, num_test=1000, per_class=CLASSES, cards={}, reference="onnxruntime",
        reference_ms=1.0, spent=90.0,
    )  # fmt: skip
    return replace(found, **changed)


def test_the_files_hold_every_row_and_say_which_are_on_the_frontier(tmp_path):
    place = Place(tmp_path, model="m", data="d")
    for kept in (DENSE.candidate.id, f"{ZEROED.candidate.id}-final"):  # that of CUT was dropped when it was beaten
        (tmp_path / "files" / kept).mkdir(parents=True)
    write_pages(outcome(tmp_path, Budget(max_kb=50, max_drop=1.0)), place)
    told = list(csv.DictReader((tmp_path / "frontier.csv").open()))
    rows = json.loads((tmp_path / "frontier.json").read_text())
    assert [row["id"] for row in told] == [row["id"] for row in rows]
    assert {row["name"] for row in rows if row["front"]} == {DENSE.name, ZEROED.name, CUT.name}
    assert [row["name"] for row in rows if row["chosen"]] == [ZEROED.name]
    best, refused = rows[0], next(row for row in rows if row["status"] == "refused")
    assert (best["median_ms"], best["size_bytes"], best["val_top1"]) == (0.25, 40_000, 0.897)
    assert best["path"] == f"files/{ZEROED.candidate.id}-final" and refused["path"] is None
    assert {row["name"] for row in rows if row["path"]} == {DENSE.name, ZEROED.name}
    assert refused["median_ms"] is refused["val_top1"] is refused["nnz"] is None
    assert told[0]["techniques"] == "zeros" and told[0]["front"] == "true" and told[-1]["median_ms"] == ""
    page = (tmp_path / "report.html").read_text()
    assert "The budget is met: every limit is kept." in page
    assert f"Take <code>{tmp_path / 'best' / 'model.so'}</code>: 90 % of the weights zero" in page


def test_intervals_and_the_error_of_the_drop_are_those_of_the_test_split(tmp_path):
    found = outcome(tmp_path, Budget(max_kb=50))
    page = fitted(found, Place(tmp_path), placed(found, Place(tmp_path)))
    # 30 of 1,000 lost more than gained 25: variance (55 - 25 / 1000) / 1000, over 1,000 images
    assert page.test["drop_error"] == pytest.approx(100 * ((0.055 - 0.005**2) / 1000) ** 0.5)
    low, high = page.test["interval"]
    assert low < 0.895 < high and high - low == pytest.approx(2 * 1.96 * (0.895 * 0.105 / 1000) ** 0.5, rel=0.02)
    assert paired_error([{"lost": 0, "gained": 0}], 10) == 0.0


def test_a_metric_that_counts_nothing_right_has_no_flips_and_no_interval(tmp_path):
    found = outcome(tmp_path, Budget(max_kb=50), per_class=[], top1=-0.1234, top1_dense=-0.1, test_drop=2.34)
    page = fitted(found, Place(tmp_path), placed(found, Place(tmp_path)))
    assert page.metric == "metric" and "interval" not in page.test
    write_pages(found, Place(tmp_path))
    text = (tmp_path / "report.html").read_text()
    assert 'id="classes"' not in text and "-0.1234" in text and "12.34 %" not in text


def test_a_metric_of_which_classes_say_something_else_has_no_interval(tmp_path):
    found = outcome(tmp_path, Budget(max_kb=50), top1=0.7)
    assert "interval" not in fitted(found, Place(tmp_path), placed(found, Place(tmp_path))).test


def test_the_dense_network_is_the_reference_runtimes_file_or_else_its_weights(tmp_path):
    found = outcome(tmp_path / "a", Budget(max_kb=50))
    dense = fitted(found, Place(tmp_path), placed(found, Place(tmp_path))).dense
    assert (dense["size_bytes"], dense["size_of"], dense["params"]) == (100_000, "as onnx fp32", 25_000)
    found = outcome(tmp_path / "b", Budget(max_kb=50), entries=(ZEROED,))
    dense = fitted(found, Place(tmp_path), placed(found, Place(tmp_path))).dense
    assert (dense["size_bytes"], dense["size_of"], dense["params"]) == (99_000, "its weights alone", None)
    assert dense["val_top1"] == pytest.approx(0.9)
    write_pages(found, Place(tmp_path / "b"))


def test_a_budget_that_was_not_met_says_so_first_and_names_the_nearest_on_each_limit(tmp_path):
    found = outcome(tmp_path, Budget(max_kb=10, max_drop=0.4), chosen=CUT, met=False, test_drop=1.75)
    write_pages(found, Place(tmp_path, model="m"))
    page = (tmp_path / "report.html").read_text()
    assert "<h1>m: budget not met</h1>" in page
    sentence = "size is 2.00 KB over the limit of 10 KB, and it loses 1.75 points where 0.4 are allowed."
    assert f"The budget was not met: {sentence}" in page
    near = page[page.index('id="near"') : page.index('id="beside"')]
    assert "90 % of the weights zero, 2 epochs of training" in near and "size 4 × the limit" in near
    assert page.index("The budget was not met") < page.index(str(tmp_path / "best" / "model.so"))
