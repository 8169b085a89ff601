"""MNIST and Fashion-MNIST: the four IDX files, gzipped or not. Source: http://yann.lecun.com/exdb/mnist (format)."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.names import IDX_FILES, Source
from prunelle.data.reading import check_bytes, reading
from prunelle.data.splits import val_size
from prunelle.data.task import Preprocessing
from prunelle.errors import DataError

SCALING = {
    "mnist": Preprocessing(mean=(0.1307,), std=(0.3081,)),
    "fashion-mnist": Preprocessing(mean=(0.2860,), std=(0.3530,)),
}
CHUNK_BYTES = 1024**2


def read_mnist(source: Source, files: Mapping[str, Path], split_seed: int) -> ArraySet:
    """Images (N, 1, 28, 28) uint8. val is cut from the official training part; test is the official one."""
    train_images, train_labels, test_images, test_labels = (files[name] for name in IDX_FILES)
    whole = _part(train_images, train_labels, source)
    test = _part(test_images, test_labels, source)
    num_val = val_size(len(whole.labels))
    train, val = whole.cut((len(whole.labels) - num_val, num_val), split_seed)
    return ArraySet(source.name, train, val, test, SCALING[source.name], source.class_names)


def _part(image_file: Path, label_file: Path, source: Source) -> Arrays:
    images, labels = read_idx(image_file, num_axes=3), read_idx(label_file, num_axes=1)
    if images.shape[1:] != source.input_shape[1:]:
        raise DataError(f"{image_file}: images are {images.shape[1:]}, must be {source.input_shape[1:]}.")
    if len(images) != len(labels):
        raise DataError(f"{label_file}: holds {len(labels):,} labels for {len(images):,} images in {image_file.name}.")
    if labels.max() >= source.num_classes:
        raise DataError(f"{label_file}: holds the label {labels.max()}, must lie in 0..{source.num_classes - 1}.")
    return Arrays(images[:, None], labels.astype(np.int64))


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The uint8 array of an IDX file with that many axes; a name that ends in .gz is unpacked.

    Raises DataError, naming the file, on a wrong magic number, an empty or too large shape, missing or extra bytes.
    """
    with reading(path, "an IDX file"), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        header = stream.read(4 + 4 * num_axes)
        if header[:4] != bytes([0, 0, 8, num_axes]):
            raise DataError(
                f"{path}: begins with {header[:4].hex()}, an IDX file of this kind with 000008{num_axes:02x}."
            )
        if len(header) < 4 + 4 * num_axes:
            raise DataError(f"{path}: {4 + 4 * num_axes} bytes of header expected, {len(header)} found; get it again.")
        shape = struct.unpack(f">{num_axes}I", header[4:])
        expected = math.prod(shape)
        check_bytes(path, expected)
        if expected == 0:
            raise DataError(f"{path}: claims the shape {shape}, every entry must be at least 1.")
        content = _read_up_to(stream, expected + 1)
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content):,}"
        raise DataError(f"{path}: {expected:,} bytes of data expected, {found} found; get the file again.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_up_to(stream: IO[bytes] | gzip.GzipFile, limit: int) -> bytearray:
    """Grows with what is really there: a header may claim more than the file holds."""
    content = bytearray()
    while len(content) < limit:
        chunk = stream.read(min(CHUNK_BYTES, limit - len(content)))
        if not chunk:
            break
        content += chunk
    return content
