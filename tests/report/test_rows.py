import csv
import io
import json

import pytest

from prunelle.errors import DiskError
from prunelle.report.rows import COLUMNS, number, rows_csv, rows_json, write_csv, write_json

ROWS = [
    {"seed": 1, "id": "b", "top1": 0.1 + 0.2, "size_bytes": 1000, "diverged": False, "zeta": 1, "alpha": "x"},
    {"id": 'a,"b"', "top1": None, "loss": float("nan"), "diverged": True, "model": "café"},
]


def test_csv_has_all_columns_in_their_order_then_further_keys_by_name():
    header = rows_csv(ROWS).splitlines()[0].split(",")
    assert header == [*COLUMNS, "alpha", "zeta"]
    assert header[:4] == ["id", "run", "variant", "model"]


def test_csv_keeps_full_precision_and_leaves_what_was_not_measured_empty():
    first, second = csv.DictReader(io.StringIO(rows_csv(ROWS)))
    assert first["top1"] == "0.30000000000000004" and first["size_bytes"] == "1000" and first["diverged"] == "false"
    assert second["id"] == 'a,"b"' and second["diverged"] == "true"
    assert second["top1"] == second["loss"] == second["seed"] == ""


def test_json_has_the_same_keys_in_every_row_and_null_for_what_was_not_measured():
    first, second = json.loads(rows_json(ROWS))
    assert list(first) == list(second) == [*COLUMNS, "alpha", "zeta"]
    assert first["top1"] == 0.1 + 0.2 and second["top1"] is None and second["loss"] is None


def test_no_rows_give_a_header_and_an_empty_list():
    assert rows_csv([]) == ",".join(COLUMNS) + "\n"
    assert json.loads(rows_json([])) == []


def test_files_hold_the_same_text_and_make_their_folder(tmp_path):
    write_csv(ROWS, tmp_path / "new" / "rows.csv")
    write_json(ROWS, tmp_path / "new" / "rows.json")
    assert (tmp_path / "new" / "rows.csv").read_bytes().decode() == rows_csv(ROWS)
    assert json.loads((tmp_path / "new" / "rows.json").read_text(encoding="utf-8")) == json.loads(rows_json(ROWS))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["rows.csv", "rows.json"]


def test_a_name_that_is_not_utf8_is_written_escaped(tmp_path):
    write_csv([{"id": "bad\udcff"}], tmp_path / "rows.csv")
    assert "bad\\udcff" in (tmp_path / "rows.csv").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="could not be written"):
        write_csv(ROWS, tmp_path / "file" / "rows.csv")


def test_only_finite_numbers_are_numbers():
    assert [number(v) for v in (0, 1.5, True, "1", None, float("inf"))] == [0, 1.5, None, None, None, None]
