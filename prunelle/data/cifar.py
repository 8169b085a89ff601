"""CIFAR-10 and CIFAR-100 in their binary layout. Source: https://www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.augment import crop_flip
from prunelle.data.names import Source
from prunelle.data.reading import check_bytes, reading
from prunelle.data.splits import val_size
from prunelle.data.task import Preprocessing
from prunelle.errors import DataError

PIXELS = 3 * 32 * 32
LABELS = {"cifar10": (10,), "cifar100": (20, 100)}
"""How many values each label byte of a record may take; the last byte is the class."""
SCALING = {
    # ImageNet's numbers, not CIFAR-10's own (.491, .482, .447): the published CIFAR ResNets were trained with these.
    "cifar10": Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "cifar100": Preprocessing(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
}


def read_cifar(source: Source, files: Mapping[str, Path], split_seed: int) -> ArraySet:
    """Images (N, 3, 32, 32) uint8. val is cut from the official training part; test is the official one."""
    ranges = LABELS[source.name]
    parts = {name: read_records(path, ranges) for name, path in files.items()}
    trains = [part for name, part in parts.items() if not name.startswith("test")]
    for name, part in parts.items():
        if not name.startswith("test") and len(part.labels) != len(trains[0].labels):
            raise DataError(
                f"{files[name]}: holds {len(part.labels):,} records, the first training file "
                f"{len(trains[0].labels):,}; they must agree: get the shorter one again."
            )
    whole = Arrays(np.concatenate([p.images for p in trains]), np.concatenate([p.labels for p in trains]))
    num_val = val_size(len(whole.labels))
    train, val = whole.cut((len(whole.labels) - num_val, num_val), split_seed)
    test = parts[source.files[-1]]
    return ArraySet(source.name, train, val, test, SCALING[source.name], source.class_names, crop_flip)


def read_records(path: Path, ranges: tuple[int, ...]) -> Arrays:
    """Records of len(ranges) label bytes and 3,072 pixel bytes (red, green, blue planes).

    Raises DataError, naming the file, when the size is no multiple of a record or a label is out of its range.
    """
    record = len(ranges) + PIXELS
    with reading(path, "CIFAR records"):
        num_bytes = path.stat().st_size
        check_bytes(path, num_bytes)
        if num_bytes == 0 or num_bytes % record:
            whole = max(1, -(-num_bytes // record)) * record
            raise DataError(
                f"{path}: {whole:,} bytes expected (a multiple of {record:,}), {num_bytes:,} found; get the file again."
            )
        table = np.fromfile(path, np.uint8).reshape(-1, record)
    for column, num_values in enumerate(ranges):
        highest = table[:, column].max()
        if highest >= num_values:
            raise DataError(f"{path}: holds the label {highest}, must lie in 0..{num_values - 1}; get the file again.")
    images = table[:, len(ranges) :].reshape(-1, 3, 32, 32)
    return Arrays(images, table[:, len(ranges) - 1].astype(np.int64))
