import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunelle.data.images import centred, random_resized
from prunelle.errors import DataError

from . import small_sets


def saved(path: Path, width: int, height: int, mode: str = "RGB") -> Path:
    Image.fromarray(small_sets.pixels(1, height, width, 3)[0]).convert(mode).save(path)
    return path


def test_nothing_to_resize_is_a_plain_cut(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", 12, 8)
    whole = np.asarray(Image.open(path)).transpose(2, 0, 1)
    assert np.array_equal(centred(path, 8, 8), whole[:, :, 2:10])
    assert np.array_equal(centred(path, 4, 8), whole[:, 2:6, 4:8])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
@pytest.mark.parametrize("size", [(20, 14), (14, 20), (5, 5)])
def test_any_mode_and_shape_becomes_rgb_squares(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", *size, mode)
    for image in (centred(path, 7, 8), random_resized(path, 7, random.Random(0))):
        assert image.shape == (3, 7, 7) and image.dtype == np.uint8


def test_random_boxes_repeat_and_stay_inside(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", 30, 3)
    draws = [random_resized(path, 6, random.Random(seed)).tobytes() for seed in (*range(30), 0)]
    assert draws[0] == draws[-1] and len(set(draws)) > 15


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "gif"])
def test_truncated_is_named(ending: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"x.{ending}", 40, 40)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"x\.{ending}: cannot be read as an image"):
        centred(path, 8, 8)


def test_refusals(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: has pixels of mode I;16, must be 8 bits"):
        centred(tmp_path / "deep.png", 4, 4)
    with pytest.raises(DataError, match="too narrow to resize"):
        centred(saved(tmp_path / "thin.png", 2000, 1), 224, 256)
    script = tmp_path / "script.png"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(DataError, match="UnidentifiedImageError"):
        centred(script, 4, 4)
