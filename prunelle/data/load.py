"""A name or a path becomes a Task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from prunelle.data.arrays import ArraySet
from prunelle.data.cifar import read_cifar
from prunelle.data.digits import read_digits
from prunelle.data.find import check_data
from prunelle.data.folder import load_folder
from prunelle.data.mnist import read_mnist
from prunelle.data.names import INDEX, Source
from prunelle.data.npz import read_npz
from prunelle.data.shard_split import load_shards
from prunelle.data.task import Task
from prunelle.errors import SettingError

READERS: Mapping[str, Callable[[Source, Mapping[str, Path], int], ArraySet]] = {
    "digits": read_digits,
    "mnist": read_mnist,
    "fashion-mnist": read_mnist,
    "cifar10": read_cifar,
    "cifar100": read_cifar,
}
"""One reader for each name in `names.SOURCES`: (source, its files, split seed) -> arrays."""


def load_task(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    split_seed: int = 0,
    image_size: int | None = None,
    augment: bool = True,
) -> Task:
    """Load a named data set (see `names.SOURCES`), a .npz file, a folder of images, or a prepared one.

    data_dir: searched before PRUNELLE_DATA and the cache. split_seed: decides val (and test, where none is official).
    image_size: side of the square images of a folder. augment: whether `train` augments when its epoch is asked to.
    Raises DataError, naming the file, for what is unknown, missing or damaged.
    """
    found = check_data(name_or_path, data_dir)
    if found.source is not None:
        if image_size not in (None, found.source.input_shape[1]):
            raise SettingError(
                f"{found.source.name}: image_size is {image_size}, its images have "
                f"{found.source.input_shape[1]} pixels a side; leave it out, it is for image folders."
            )
        return READERS[found.source.name](found.source, found.files, split_seed).task(device, augment)
    assert found.path is not None
    if (found.path / INDEX).is_file():
        return load_shards(found.path, device=device, split_seed=split_seed, image_size=image_size, augment=augment)
    if found.path.is_dir():
        return load_folder(found.path, device=device, split_seed=split_seed, image_size=image_size, augment=augment)
    if image_size is not None:
        raise SettingError(f"{found.path}: image_size is for image folders, a .npz file brings its own; leave it out.")
    return read_npz(found.path, split_seed).task(device, augment)
