from pathlib import Path

import numpy as np
import pytest

from prunelle.data.load import load_task
from prunelle.data.mnist import read_idx
from prunelle.errors import DataError

from . import small_sets

IMAGES = small_sets.pixels(7, 3, 4)


@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_read(name: str, tmp_path: Path) -> None:
    path = small_sets.write_idx(tmp_path / name, IMAGES)
    assert np.array_equal(read_idx(path, 3), IMAGES)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c[:-1], "84 bytes of data expected, 83 found"),
        (lambda c: c + b"x", "84 bytes of data expected, more found"),
        (lambda c: c[:10], "16 bytes of header expected, 10 found"),
        (lambda c: b"", "begins with , an IDX file of this kind with 00000803"),
        (lambda c: b"\0\0\x08\x01" + c[4:], "begins with 00000801"),
        (lambda c: c[:7] + b"\0" + c[8:], "must be at least 1"),
        (lambda c: c[:4] + b"\xff" * 12, "bytes of data in a file of 16; get the file again."),
        (lambda c: c[:4] + b"\x80\0\0\0" + c[8:], "claims 25,769,803,776 bytes of data in a file of 100"),
    ],
)
def test_damage_is_named(change, sentence: str, tmp_path: Path) -> None:
    path = small_sets.write_idx(tmp_path / "images", IMAGES)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path}: ") and sentence in str(caught.value)


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = small_sets.write_idx(tmp_path / "images.gz", IMAGES)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"images\.gz: cannot be read as an IDX file \(EOFError"):
        read_idx(path, 3)


def test_parts_must_agree(tmp_path: Path) -> None:
    small_sets.write_mnist(tmp_path)
    label_file = tmp_path / "train-labels-idx1-ubyte"
    small_sets.write_idx(label_file, small_sets.labels(59, 10))
    with pytest.raises(DataError, match="holds 59 labels for 60 images in train-images-idx3-ubyte"):
        load_task("mnist", data_dir=tmp_path)
    small_sets.write_idx(label_file, small_sets.labels(60, 11))
    with pytest.raises(DataError, match=r"holds the label 10, must lie in 0\.\.9"):
        load_task("mnist", data_dir=tmp_path)
    small_sets.write_idx(tmp_path / "t10k-images-idx3-ubyte", small_sets.pixels(20, 28, 27))
    small_sets.write_idx(label_file, small_sets.labels(60, 10))
    with pytest.raises(DataError, match=r"images are \(28, 27\), must be \(28, 28\)"):
        load_task("mnist", data_dir=tmp_path)
