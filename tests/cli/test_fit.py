"""`prunelle fit` as typed: words, refusals before any work, and what is printed of a result."""

from pathlib import Path

import pytest

from prunelle.cli.fit import asked_of, formats_of, limit_line, print_found, sentence, time_limit
from prunelle.cli.main import answer
from prunelle.errors import SettingError
from prunelle.fit.candidates import Candidate
from prunelle.fit.entry import Entry
from prunelle.fit.fitting import News


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (None, {}),
        ("3", {"max_ms": 3.0}),
        (".5 ms", {"max_ms": 0.5}),
        ("0.5x", {"max_ratio": 0.5}),
        ("2X", {"max_ratio": 2.0}),
    ],
)
def test_a_time_is_milliseconds_or_a_share(text, limit):
    assert time_limit(text) == limit


@pytest.mark.parametrize("text", ["", "0", "0x", "-1", "nan", "x", "3s", "1e-3"])
def test_other_times_are_refused(text):
    with pytest.raises(SettingError, match=r"--max-ms is .*, must be milliseconds such as 3, or a share of the dense"):
        time_limit(text)


def test_formats_are_words_with_commas():
    assert formats_of(None) is None and formats_of("native, onnx,native") == ("native", "onnx")
    for text, told in (("nativ", "'nativ': must be some of native, .* 'native'"), (",", "names none; the words are")):
        with pytest.raises(SettingError, match=told):
            formats_of(text)


DIGITS = "fit lenet_300_100 --data digits --out {out}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "no limit was given; pass --max-ms, --max-kb or --max-drop"),
        ("--max-ms 0", "--max-ms is '0', must be milliseconds"),
        ("--max-kb nan", "max_kb is nan, must be a number above 0"),
        ("--max-kb 0", "max_kb is 0.0, must be a number above 0"),
        ("--max-drop inf", "max_drop is inf, must be a number above -100"),
        ("--max-ms 3 --minutes 0", "--minutes 0.0: must be above 0"),
        ("--max-ms 3 --runtimes fast", "--runtimes 'fast': must be some of"),
        ("--max-ms 3 --choose-on test", "--choose-on 'test': must be val or test-half"),
        ("--candidate {out}.json", "cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence_and_nothing_is_written(tmp_path: Path, capsys, words, told):
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    assert answer(f"{DIGITS} {words}".format(out=tmp_path / "o").split()) == 2
    out, err = capsys.readouterr()
    assert told in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())


def test_a_row_that_is_none_is_refused(tmp_path: Path, capsys):
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    (tmp_path / "row.json").write_text("{}")
    assert answer(f"{DIGITS} --candidate {tmp_path}/row.json".format(out=tmp_path / "o").split()) == 2
    assert "row.json: its contents do not match its own SHA-256" in capsys.readouterr().err


CHOSEN = Entry(Candidate((), (), "native", "int16"), "fit", size_bytes=12_300, median_ms=0.5, share=0.25,
               share_low=0.24, share_high=0.26, drop=0.3)  # fmt: skip
FOUND = {
    "met": False,
    "missed": {"drop": 1.2},
    "model": "m",
    "budget": {"max_ms": None, "max_ratio": 0.5, "max_kb": 60.0, "max_drop": 0.5},
    "chosen": {**CHOSEN.to_json(), "name": CHOSEN.name},
    "folder": "o/best",
    "test": {"top1": 0.973, "top1_dense": 0.98, "drop": 0.7, "num_test": 1000},
    "nearest": {},
    "num_tried": 9,
    "reference": {"runtime": "onnxruntime", "ms": 2.0},
}


def test_limits_stand_beside_what_was_reached():
    assert [asked_of(name, FOUND) for name in ("ms", "kb", "drop")] == [
        "0.5x of onnxruntime, 2 ms",
        "60 KB",
        "0.5 points",
    ]
    assert limit_line("ms", FOUND)[2:] == ("0.5 ms, 0.250x (0.240 to 0.260)", "kept")
    assert limit_line("kb", FOUND)[2:] == ("12.3 KB", "kept")
    assert limit_line("drop", FOUND)[2:] == ("+0.70 points on test, +0.30 on the split chosen on", "missed")
    none = {**FOUND, "budget": {**FOUND["budget"], "max_kb": None}}
    assert asked_of("kb", none) is None


def test_a_limit_missed_on_the_test_split_alone_is_named(capsys):
    print_found(FOUND, Path("o"))
    told = capsys.readouterr().out
    assert "cannot be met: 97.30 % on 1,000 test images (dense 98.00 %), 0.5 ms, 12.3 KB; 9 files were made." in told
    assert "nearest miss on drop: this file, which keeps the limit on the split chosen on" in told
    print_found({**FOUND, "nearest": {"drop": FOUND["chosen"]}}, Path("o"))
    assert "nearest miss on drop: dense; native int16 (0.5 ms, 12.3 KB, +0.30 points lost" in capsys.readouterr().out


def test_what_a_search_is_doing():
    assert sentence(News("looking", None, 90.0)) == "looking\nbest so far: nothing yet\n1.5 minutes left"
    assert "best so far: 0.00 %, 0.5 ms, 12.3 KB (dense; native int16)" in sentence(News("x", CHOSEN, 0.0))
