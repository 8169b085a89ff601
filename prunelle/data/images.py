"""One image file becomes pixels: the two ways ImageNet networks are fed, on pillow.

Source: torchvision's classification references (resize and crop arithmetic, bilinear with antialiasing).
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
from PIL import Image

from prunelle.data.reading import reading
from prunelle.errors import DataError

# A closed list: some of pillow's other readers start programs (Ghostscript for EPS).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
MAX_PIXELS = 64 * 1024**2


def shorter_side(path: Path) -> int:
    """Pixels of the shorter side, from the header alone."""
    with reading(path, "an image"), Image.open(path, formats=FORMATS) as image:
        return min(image.size)


def centred(path: Path, size: int, resize: int) -> np.ndarray:
    """Resize the shorter side to `resize` pixels, cut the centre. Returns (3, size, size) uint8, size <= resize.

    Raises DataError, naming the file, when it cannot be decoded whole.
    """
    image = _open(path)
    width, height = image.size
    if width <= height:
        width, height = resize, int(resize * height / width)
    else:
        width, height = int(resize * width / height), resize
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: is {image.size[0]} x {image.size[1]} pixels, too narrow to resize; leave it out.")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return _pixels(image.crop((left, top, left + size, top + size)))


def random_resized(path: Path, size: int, random_: random.Random) -> np.ndarray:
    """Cut a random box of 8 to 100 % of the area and 3:4 to 4:3, resize it, mirror half the time.

    Returns (3, size, size) uint8. Raises DataError, naming the file, when it cannot be decoded whole.
    Source: Szegedy et al., arXiv:1409.4842, section 6; ten tries, then the largest centred box.
    """
    image = _open(path)
    image = image.crop(_box(image.size, random_)).resize((size, size), Image.Resampling.BILINEAR)
    return _pixels(image)[:, :, :: -1 if random_.random() < 0.5 else 1].copy()


def _box(size: tuple[int, int], random_: random.Random) -> tuple[int, int, int, int]:
    width, height = size
    for _ in range(10):
        area = width * height * random_.uniform(0.08, 1.0)
        ratio = math.exp(random_.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random_.randint(0, width - w), random_.randint(0, height - h)
            return left, top, left + w, top + h
    w, h = min(width, max(1, round(height * 4 / 3))), min(height, max(1, round(width * 4 / 3)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _open(path: Path) -> Image.Image:
    with reading(path, "an image"), Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{path}: claims {image.width} x {image.height} pixels, {MAX_PIXELS:,} are allowed.")
        if image.mode not in EIGHT_BIT:
            raise DataError(f"{path}: has pixels of mode {image.mode}, must be 8 bits a channel; convert it first.")
        return image.convert("RGB")


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)
