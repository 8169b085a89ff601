"""A user's own arrays in a .npz file. Nothing is unpickled, and no header is believed before its size is checked."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.reading import check_bytes, reading
from prunelle.data.splits import three_sizes, val_size
from prunelle.data.task import Preprocessing
from prunelle.errors import DataError

KNOWN = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "images", "labels")
CHANNELS = (1, 3, 4)


def read_npz(path: Path, split_seed: int) -> ArraySet:
    """Read x_train, y_train, x_test, y_test and, if there, x_val, y_val; or images, labels, which are split here.

    Images: (N, H, W), (N, H, W, C) or (N, C, H, W) with C in 1, 3, 4; uint8 in 0..255, or float, taken as it is.
    Labels: (N,) or (N, 1) integers from 0. Mean and std are those of the training part.
    Raises DataError, naming the file, for damage, other keys, shapes or types, NaN or infinity, labels out of range.
    """
    found = _members(path)
    if {"x_train", "y_train", "x_test", "y_test"} <= found.keys() and ("x_val" in found) == ("y_val" in found):
        parts = [_part(path, found, key) for key in ("train", "val", "test") if f"x_{key}" in found]
        _check_agree(path, parts)
        if len(parts) == 2:
            num, num_val = len(parts[0].labels), val_size(len(parts[0].labels))
            parts[:1] = parts[0].cut((num - num_val, num_val), split_seed)
    elif {"images", "labels"} <= found.keys():
        whole = _part(path, found, None)
        parts = whole.cut(three_sizes(len(whole.labels)), split_seed)
    else:
        raise DataError(
            f"{path}: holds of the keys that are read {', '.join(found) or 'none'}, must hold x_train, y_train, "
            "x_test, y_test (and both x_val and y_val, or neither), or images and labels."
        )
    num_classes = int(max(part.labels.max() for part in parts)) + 1
    num_examples = sum(len(part.labels) for part in parts)
    if not 2 <= num_classes <= num_examples:
        raise DataError(
            f"{path}: the highest label is {num_classes - 1}, labels must count classes from 0: at least two, and no "
            f"more than the {num_examples:,} examples."
        )
    names = tuple(map(str, range(num_classes)))
    return ArraySet(path.stem, parts[0], parts[1], parts[2], scaling(parts[0].images), names)


def scaling(images: np.ndarray) -> Preprocessing:
    """Mean and std of each channel of (N, C, H, W) images, to 6 digits; a constant channel gets std 1."""
    low, high = (0.0, 255.0) if images.dtype == np.uint8 else (0.0, 1.0)
    mean, std = [], []
    for channel in range(images.shape[1]):
        values = images[:, channel].ravel()
        if images.dtype == np.uint8:
            levels, weights = np.arange(256) / high, np.bincount(values, minlength=256)
        else:
            levels, weights = values.astype(np.float64), None
        centre = float(np.average(levels, weights=weights))
        spread = math.sqrt(float(np.average((levels - centre) ** 2, weights=weights)))
        mean.append(float(f"{centre:.6g}"))
        std.append(float(f"{spread:.6g}") or 1.0)
    return Preprocessing(tuple(mean), tuple(std), (low, high))


def _part(path: Path, found: dict[str, np.ndarray], part: str | None) -> Arrays:
    image_key, label_key = (f"x_{part}", f"y_{part}") if part else ("images", "labels")
    images, labels = _images(f"{path}: {image_key}", found[image_key]), found[label_key]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(
            f"{path}: {label_key} is {labels.dtype} {labels.shape}, must be integers ({len(images)},), one an image."
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise DataError(
            f"{path}: {label_key} reaches from {labels.min()} to {labels.max()}, must count classes from 0."
        )
    return Arrays(images, labels.astype(np.int64))


def _images(where: str, images: np.ndarray) -> np.ndarray:
    """As (N, C, H, W), uint8 or float32."""
    first, last = (images.ndim == 4 and images.shape[axis] in CHANNELS for axis in (1, 3))
    if (first == last and images.ndim != 3) or 0 in images.shape:
        raise DataError(
            f"{where} has shape {images.shape}, must be (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4 "
            "on just one of those axes."
        )
    if images.ndim == 3:
        images = images[:, None]
    elif last:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise DataError(f"{where} is {images.dtype}, must be uint8 or float; convert it first.")
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(images).all():
        raise DataError(f"{where} holds NaN, infinity or a value beyond float32; clean the images first.")
    return images


def _check_agree(path: Path, parts: list[Arrays]) -> None:
    kinds = sorted({f"{part.images.dtype} {part.images.shape[1:]}" for part in parts})
    if len(kinds) > 1:
        raise DataError(f"{path}: its parts hold images of {' and '.join(kinds)}, must all be of one type and shape.")


def _members(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the known keys. Other members are left unread."""
    with reading(path, "a .npz file"), zipfile.ZipFile(path) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        wanted = {key: infos[key] for key in KNOWN if key in infos}
        check_bytes(path, sum(info.file_size for info in wanted.values()))
        found = {}
        for key, info in wanted.items():
            with archive.open(info) as stream:
                found[key] = _array(f"{path}: {key}", stream, info.file_size)
        return found


def _array(where: str, stream: IO[bytes], num_bytes: int) -> np.ndarray:
    """One .npy member of num_bytes. Its header's claim is held against num_bytes before anything is allocated."""
    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind not in "fiu":
        raise DataError(f"{where} is {dtype}, must be numbers; nothing is ever unpickled.")
    expected, left = math.prod(shape) * dtype.itemsize, num_bytes - stream.tell()
    if min(shape, default=1) < 0 or expected != left:
        raise DataError(
            f"{where} claims the shape {shape}: {expected:,} bytes expected, {left:,} found; save it again."
        )
    content = np.frombuffer(stream.read(expected), dtype)
    array = content.reshape(shape[::-1]).T if fortran else content.reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
