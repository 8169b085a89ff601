from pathlib import Path

import pytest

from prunelle.errors import DiskError
from prunelle.ship.library_cache import cache_folder, keep, kept, workshop

KEY = "0123456789abcdef" * 4
HASH_OF_CODE = "5694d08a2e53ffcae0c3103e5ad6f607"
"""The first digits that `printf code | sha256sum` prints."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNELLE_CACHE", str(tmp_path))
    return tmp_path / "native"


def put(code: bytes) -> Path:
    with workshop() as folder:
        (folder / "net.so").write_bytes(code)
        return keep(folder / "net.so", KEY, ".so")


def test_a_library_is_found_under_its_key_and_nothing_else_is_left(cache: Path) -> None:
    assert kept(KEY, ".so") is None
    made = put(b"code")
    assert made == cache / f"{KEY[:32]}-{HASH_OF_CODE}.so" == kept(KEY, ".so") and list(cache.iterdir()) == [made]
    assert made.read_bytes() == b"code"
    assert kept("f" * 64, ".so") is None and kept(KEY, ".wasm") is None


@pytest.mark.parametrize("damaged", (b"", b"co", b"code\0", b"cOde"))
def test_a_damaged_one_is_removed_and_a_whole_one_beside_it_taken(cache: Path, damaged: bytes) -> None:
    first, second = put(b"code"), put(b"other code of the same key")
    first.write_bytes(damaged)
    assert kept(KEY, ".so") == second and list(cache.iterdir()) == [second]
    second.write_bytes(damaged)
    assert kept(KEY, ".so") is None and list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNELLE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DiskError, match=r"file/native: cannot be used .*; name another cache by PRUNELLE_CACHE\.$"):
        put(b"code")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "native"
    monkeypatch.delenv("PRUNELLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "prunelle" / "native"
