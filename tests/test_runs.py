import json
import os
import subprocess
import sys

import pytest
import torch
from tiny import new_run, same_bits

from prunelle.errors import BusyError, CorruptFileError, DiskError, RunConflictError
from prunelle.files import sha256, to_json
from prunelle.runs import Run

TENSORS = {
    "nan": torch.tensor([float("nan"), -0.0, float("inf"), 1e-45]),
    "half": torch.randn(3, 2).bfloat16(),
    "scalar": torch.tensor(3, dtype=torch.int64),
    "empty": torch.empty(0, 4),
    "flag": torch.tensor([True, False]),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
}


def test_a_folder_is_named_by_the_hash_of_settings_and_seed(tmp_path):
    run = Run.open(tmp_path, {"b": 2, "a": [1]}, 7)
    assert run.id == sha256(b'{"a":[1],"b":2,"seed":7}')[:16]
    assert Run.open(str(tmp_path), {"a": [1], "b": 2}, 7).folder == run.folder
    assert Run.open(tmp_path, {"a": [1], "b": 2}, 8).folder != run.folder
    assert not run.done and run.seed == 7 and run.device == torch.device("cpu")


def test_a_folder_with_other_settings_is_refused(tmp_path):
    run, other = new_run(tmp_path), new_run(tmp_path, a=1)
    (run.folder / "settings.json").write_bytes((other.folder / "settings.json").read_bytes())
    with pytest.raises(RunConflictError, match=r"holds another run's settings.json; choose another folder"):
        new_run(tmp_path)


def test_a_parent_that_is_a_file_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="could not be written"):
        new_run(tmp_path / "file")


def test_generators_are_the_seeds_and_the_names(tmp_path):
    first, second = (new_run(tmp_path, seed=3).generator("a", 1) for _ in range(2))
    other = new_run(tmp_path, seed=4).generator("a", 1)
    drawn = [torch.rand(3, generator=g) for g in (first, second, other)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_rows_come_back_in_order_and_torn_lines_are_left_out(tmp_path):
    run = new_run(tmp_path)
    assert run.rows() == []
    run.keep_rows("s", 0)
    rows = [{"stage": "s", "epoch": epoch, "x": 0.1 * epoch} for epoch in (1, 2)]
    for row in rows:
        run.record(row)
    path = run.folder / "metrics.jsonl"
    for torn in (b'{"stage": "s", "ep', b'\xff\xfe{"a"', b"\n\n"):
        path.write_bytes("".join(to_json(row) + "\n" for row in rows).encode() + torn)
        assert run.rows() == rows
    run.keep_rows("s", 9)
    assert path.read_bytes() == "".join(to_json(row) + "\n" for row in rows).encode()


def test_keep_rows_drops_later_epochs_of_this_stage_only(tmp_path):
    run = new_run(tmp_path)
    for stage in "ab":
        for epoch in (1, 2, 3):
            run.record({"stage": stage, "epoch": epoch})
    run.keep_rows("b", 1)
    kept = [(row.get("stage"), row.get("epoch")) for row in run.rows()]
    assert kept == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]


def test_a_row_that_cannot_be_written_is_a_disk_error(tmp_path, monkeypatch):
    run = new_run(tmp_path)
    monkeypatch.setattr(os, "write", lambda *args: 0)
    with pytest.raises(DiskError, match=r"metrics.jsonl: could not be written"):
        run.record({})


def test_a_checkpoint_gives_every_bit_back(tmp_path):
    run = new_run(tmp_path)
    assert run.load_checkpoint("s") is None
    run.save_checkpoint("s", TENSORS, {"step": 3, "x": 0.1, "none": None})
    found, info = run.load_checkpoint("s")
    assert same_bits(found, TENSORS)
    assert info == {"step": 3, "x": 0.1, "none": None}
    run.save_checkpoint("s", {}, {})
    assert run.load_checkpoint("s") == ({}, {})
    assert run.load_checkpoint("t") is None


def test_views_of_one_storage_are_stored_each(tmp_path):
    run = new_run(tmp_path)
    whole = torch.arange(6.0)
    views = {"a": whole[:3], "b": whole[3:], "whole": whole, "again": whole}
    run.save_checkpoint("s", views, {})
    assert same_bits(run.load_checkpoint("s")[0], views)


def test_a_damaged_checkpoint_is_found(tmp_path):
    run = new_run(tmp_path)
    run.save_checkpoint("s", {"w": torch.ones(2)}, {})
    path = run.folder / "s.checkpoint"
    raw = path.read_bytes()
    for position in range(len(raw)):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 4]) + raw[position + 1 :])
        with pytest.raises(CorruptFileError, match="does not match its SHA-256; delete it and start the same"):
            run.load_checkpoint("s")
    body = b"no safetensors"
    path.write_bytes(sha256(body).encode() + b"\n" + body)
    with pytest.raises(CorruptFileError, match="is not a checkpoint"):
        run.load_checkpoint("s")


def test_card_json_means_done_and_checkpoints_can_go(tmp_path):
    run = new_run(tmp_path)
    run.save_checkpoint("s", {}, {})
    run.finish({"top1": 0.5})
    assert run.done and run.card() == {"top1": 0.5}
    run.drop_checkpoints()
    assert run.load_checkpoint("s") is None


def test_progress_is_shown_at_most_once_a_second_and_never_fails(tmp_path):
    run = new_run(tmp_path)
    run.show(0.25)
    run.show(0.5)
    assert (run.folder / "progress").read_text() == "0.2500"
    run.shown_at = 0.0
    (run.folder / "progress").unlink()
    (run.folder / "progress").mkdir()
    run.show(0.75)


def test_two_holders_in_one_process_or_two(tmp_path):
    run = new_run(tmp_path)
    (run.folder / "model").mkdir()
    (run.folder / "model" / ".weights.9.tmp").write_text("")
    with run.locked():
        assert not list(run.folder.rglob("*.tmp"))
        with pytest.raises(BusyError, match="another process is at work there; wait for it or stop it"), run.locked():
            pass
        assert ask_for_lock(run) == "busy"
    assert ask_for_lock(run) == "free"


def test_an_error_inside_the_lock_is_not_taken_for_a_busy_run(tmp_path):
    run = new_run(tmp_path)
    with pytest.raises(BlockingIOError), run.locked():
        raise BlockingIOError
    assert ask_for_lock(run) == "free"


def ask_for_lock(run: Run) -> str:
    code = (
        "import fcntl, sys\n"
        "try:\n    fcntl.flock(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')\n"
        "except BlockingIOError:\n    print('busy')\n"
    )
    path = str(run.folder / "lock")
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True).stdout.strip()


def test_settings_are_plain_json(tmp_path):
    run = new_run(tmp_path, shape=(1, 2))
    assert json.loads((run.folder / "settings.json").read_text())["shape"] == [1, 2]
    assert new_run(tmp_path, shape=(1, 2)).folder == run.folder
