from pathlib import Path

import pytest

from prunelle.errors import RunConflictError
from prunelle.recipes import check
from prunelle.recipes.check import check_folder, check_out, threads_pay

from .small import cell, recipe


def test_threads_pay_from_ten_million_multiply_adds_an_image() -> None:
    assert not threads_pay(recipe(cell()), False)
    assert threads_pay(recipe(cell(model="resnet20", data="cifar10")), False)


def test_a_folder_to_write_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    check_folder(tmp_path)
    with pytest.raises(RunConflictError, match="file: is a file; name a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(RunConflictError, match="file cannot be written to; choose another folder"):
        check_folder(tmp_path / "file" / "a")
    monkeypatch.setattr(check.os, "access", lambda *_: False)
    with pytest.raises(RunConflictError, match=r"a: .* cannot be written to; choose another folder"):
        check_folder(tmp_path / "a")


def test_a_folder_of_ours_is_known_by_its_claim(tmp_path: Path) -> None:
    check_out(tmp_path, "ship.json")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "lock").write_text("")  # all that a kill right after the start leaves
    check_out(tmp_path, "ship.json")
    (tmp_path / "ship.json").mkdir()
    with pytest.raises(RunConflictError, match=r"is not empty and holds no ship\.json; choose another folder"):
        check_out(tmp_path, "ship.json")
    (tmp_path / "ship.json").rmdir()
    (tmp_path / "ship.json").write_text("")
    check_out(tmp_path, "ship.json")
