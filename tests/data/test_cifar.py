from pathlib import Path

import pytest

from prunelle.data.cifar import read_records
from prunelle.data.load import load_task
from prunelle.errors import DataError

from . import small_sets


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (30_000, "30,730 bytes expected (a multiple of 3,073), 30,000 found"),
        (0, "3,073 bytes expected (a multiple of 3,073), 0 found"),
    ],
)
def test_truncated(keep: int, sentence: str, tmp_path: Path) -> None:
    path = small_sets.write_cifar10(tmp_path) / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        load_task("cifar10", data_dir=tmp_path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_truncated_by_whole_records(tmp_path: Path) -> None:
    path = small_sets.write_cifar10(tmp_path) / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:3073])
    with pytest.raises(DataError, match=r"data_batch_5\.bin: holds 1 records, the first training file 10"):
        load_task("cifar10", data_dir=tmp_path)


def test_labels_out_of_range(tmp_path: Path) -> None:
    path = small_sets.write_cifar100(tmp_path) / "test.bin"
    content = bytearray(path.read_bytes())
    content[3074] = 20
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test\.bin: holds the label 20, must lie in 0\.\.19"):
        read_records(path, (20, 100))
    assert len(read_records(path, (21, 100)).labels) == 10
