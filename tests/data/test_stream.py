from pathlib import Path

import pytest
import torch

from prunelle.data import stream
from prunelle.data.folder import load_folder
from prunelle.errors import DataError

from . import small_sets


def generators(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = load_folder(small_sets.write_images(tmp_path / "pets", num=20), memory_bytes=0).train
    epochs = []
    for num_workers, start in ((0, 0), (2, 0), (2, 2)):
        monkeypatch.setattr(stream, "spare_workers", lambda device, num=num_workers: num)
        before = torch.get_rng_state()
        epochs.append(list(split.epoch(4, order=generators(0), augment=generators, start=start)))
        assert torch.equal(before, torch.get_rng_state())
    assert len(epochs[0]) == 4
    for one, two in (*zip(epochs[0], epochs[1], strict=True), *zip(epochs[0][2:], epochs[2], strict=True)):
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_an_error_in_a_worker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_sets.write_images(tmp_path / "pets")
    split = load_folder(root, memory_bytes=0).train
    for path in root.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    monkeypatch.setattr(stream, "spare_workers", lambda device: 1)
    with pytest.raises(DataError) as caught:
        list(split.epoch(4))
    assert "cannot be read as an image" in str(caught.value) and "\n" not in str(caught.value)


def test_streamed_is_what_memory_holds(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=20, size=(40, 30))
    streamed, held = (load_folder(root, image_size=16, memory_bytes=limit) for limit in (0, 2**28))
    for one, two in zip(streamed.test.epoch(3), held.test.epoch(3), strict=True):
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_workers_are_the_cores_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    assert stream.spare_workers(torch.device("cpu")) == 4
    assert stream.spare_workers(torch.device("cuda")) == 5
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert stream.spare_workers(torch.device("cpu")) == 0
