import errno
import json
import os

import pytest

from prunelle.errors import CorruptFileError, DiskError
from prunelle.files import (
    EMPTY_SEAL,
    LARGEST_JSON_BYTES,
    atomic_write,
    read_bytes,
    read_sealed_json,
    remove_leftovers,
    sha256,
    sync_folder,
    to_json,
    write_sealed_json,
)


def test_atomic_write_makes_and_replaces(tmp_path):
    path = tmp_path / "a.bin"
    for data in (b"first", b"", b"x" * 100_000):
        atomic_write(path, data)
        assert path.read_bytes() == data
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_short_writes_are_finished(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:3])))
    atomic_write(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, function):
    path = tmp_path / "a"
    atomic_write(path, b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(DiskError, match=r"a: could not be written \(No space left on device\); what was finished"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_takes_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda handle, data: 0)
    with pytest.raises(DiskError, match="the disk took no more bytes"):
        atomic_write(tmp_path / "a", b"data")


def test_a_folder_that_is_not_there_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        atomic_write(tmp_path / "absent" / "a", b"")


def test_leftovers_of_killed_writers_go_and_nothing_else(tmp_path):
    (tmp_path / "model").mkdir()
    for name in (".a.123.tmp", "model/.b.5.tmp", "keep.tmp", ".hidden", "model/c"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {
        "keep.tmp", ".hidden", "model/c"
    }  # fmt: skip


def test_sync_folder_syncs_that_folder(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    sync_folder(tmp_path)
    assert synced == [tmp_path.stat().st_ino]


def test_sha256_of_nothing_is_the_known_one():
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_one_value_has_one_text():
    assert to_json({"b": 1, "a": [1.5, None, True]}) == '{"a":[1.5,null,true],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("nan")})


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": {"b": [1, 2.5, "é"]}, "zeros": EMPTY_SEAL}])
def test_sealed_json_comes_back(tmp_path, values):
    path = tmp_path / "a.json"
    write_sealed_json(path, values)
    assert read_sealed_json(path) == values
    assert json.loads(path.read_text())["seal"] == sha256(
        path.read_bytes().replace(json.loads(path.read_text())["seal"].encode(), EMPTY_SEAL.encode(), 1)
    )


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = tmp_path / "a.json"
    write_sealed_json(path, {"epoch": 3, "name": "x"})
    raw = path.read_bytes()
    damaged = [raw[:i] + bytes([raw[i] ^ 1 << bit]) + raw[i + 1 :] for i in range(len(raw)) for bit in range(8)]
    damaged += [raw[:i] for i in range(len(raw))]
    damaged += [raw + b" ", b"[]", b'"seal"', b'{"seal": 3}', b'{"seal": ""}', b"[" * 100_000, b"{}"]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CorruptFileError, match="not match its own SHA-256"):
            read_sealed_json(path)


def test_read_bytes_refuses_what_is_absent_too_large_or_no_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(CorruptFileError, match="is 5 bytes, at most 4 are read"):
        read_bytes(path, 4)
    with pytest.raises(CorruptFileError, match=r"b: cannot be read \(No such file or directory\)"):
        read_bytes(tmp_path / "b")
    with pytest.raises(CorruptFileError, match="is no plain file"):
        read_bytes(tmp_path)
    assert LARGEST_JSON_BYTES < 2**30
