from pathlib import Path

import numpy as np
import pytest

from prunelle.data.npz import read_npz, scaling
from prunelle.errors import DataError

from . import small_sets

PIXELS, LABELS = small_sets.pixels(40, 6, 6), small_sets.labels(40, 4)
PARTS = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:8], "y_test": LABELS[:8]}


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (PIXELS, (1, 6, 6)),
        (small_sets.pixels(40, 5, 6, 3), (3, 5, 6)),
        (small_sets.pixels(40, 4, 5, 6), (4, 5, 6)),
        (np.asfortranarray(PIXELS), (1, 6, 6)),
        (small_sets.pixels(40, 3, 4), (1, 3, 4)),
        (PIXELS.astype(">f8"), (1, 6, 6)),
        (PIXELS.astype(np.float16), (1, 6, 6)),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_shapes_and_types(images: np.ndarray, shape: tuple, compress: bool, tmp_path: Path) -> None:
    (np.savez_compressed if compress else np.savez)(tmp_path / "x.npz", images=images, labels=LABELS[:, None])
    found = read_npz(tmp_path / "x.npz", 0)
    assert [len(part.labels) for part in (found.train, found.val, found.test)] == [28, 4, 8]
    assert found.train.images.shape[1:] == shape and len(found.class_names) == 4
    assert found.train.images.dtype == (np.uint8 if images.dtype == np.uint8 else np.float32)
    whole = np.concatenate([part.images for part in (found.train, found.val, found.test)])
    expected = images[:, None] if images.ndim == 3 else images
    expected = expected.transpose(0, 3, 1, 2) if expected.shape[3] == 3 else expected
    assert sorted(row.tobytes() for row in whole) == sorted(row.tobytes() for row in expected.astype(whole.dtype))


def test_parts_are_kept_as_given(tmp_path: Path) -> None:
    found = read_npz(small_sets.write_npz(tmp_path / "x.npz", **PARTS), 0)
    assert np.array_equal(found.test.images, PIXELS[:8, None])
    assert (len(found.train.labels), len(found.val.labels)) == (36, 4)
    parts = {**PARTS, "x_val": PIXELS[:5], "y_val": LABELS[:5]}
    found = read_npz(small_sets.write_npz(tmp_path / "x.npz", **parts), 0)
    assert np.array_equal(found.val.images, PIXELS[:5, None]) and np.array_equal(found.train.labels, LABELS)


def test_scaling_by_hand() -> None:
    images = np.array([0, 255, 0, 255], np.uint8).reshape(4, 1, 1, 1)
    assert (scaling(images).mean, scaling(images).std) == ((0.5,), (0.5,))
    assert scaling(images).value_range == (0.0, 255.0)
    floats = np.array([[1.0, 7.0], [3.0, 7.0]], np.float32).reshape(2, 2, 1, 1)
    assert (scaling(floats).mean, scaling(floats).std) == ((2.0, 7.0), (1.0, 1.0))


NAN = PIXELS.astype(np.float32)
NAN[3, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": PIXELS, "labels": LABELS}, "holds of the keys that are read labels, must hold x_train"),
        ({**PARTS, "x_val": PIXELS}, "both x_val and y_val, or neither"),
        ({"images": PIXELS[0], "labels": LABELS}, "images has shape (6, 6), must be (N, H, W)"),
        ({"images": PIXELS[:, :, None, None, :], "labels": LABELS}, "images has shape (40, 6, 1, 1, 6)"),
        ({"images": small_sets.pixels(40, 3, 6, 3), "labels": LABELS}, "on just one of those axes"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "images has shape (0, 6, 6)"),
        ({"images": PIXELS.astype(np.int64), "labels": LABELS}, "images is int64, must be uint8 or float"),
        ({"images": NAN, "labels": LABELS}, "images holds NaN, infinity"),
        ({"images": np.full((9, 2, 2), 1e300), "labels": LABELS[:9]}, "beyond float32"),
        ({"images": PIXELS, "labels": LABELS[:39]}, "labels is uint8 (39,), must be integers (40,)"),
        ({"images": PIXELS, "labels": LABELS.astype(float)}, "labels is float64 (40,)"),
        ({"images": PIXELS, "labels": LABELS.astype(int) - 1}, "labels reaches from -1 to 2"),
        ({"images": PIXELS, "labels": np.full(40, 2**60)}, "labels reaches from 1152921504606846976"),
        ({"images": PIXELS, "labels": LABELS.astype(int) * 30}, "the highest label is 90"),
        ({"images": PIXELS, "labels": LABELS * 0}, "the highest label is 0"),
        ({"images": PIXELS[:2], "labels": LABELS[:2]}, "2 examples cannot be split"),
        ({**PARTS, "x_test": PIXELS[:8, :5]}, "images of uint8 (1, 5, 6) and uint8 (1, 6, 6), must all be of one"),
        ({"images": PIXELS.astype(object), "labels": LABELS}, "images is object, must be numbers; nothing is ever"),
    ],
)
def test_refusals(arrays: dict, sentence: str, tmp_path: Path) -> None:
    path = small_sets.write_npz(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError) as caught:
        read_npz(path, 0)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "cannot be split" in sentence
