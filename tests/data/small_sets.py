"""Small data sets in the official layouts, every image different, for tests of the readers."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from prunelle.data.names import CLAIM, INDEX
from prunelle.data.prepare import index_of, make_shard, plan_shards
from prunelle.files import write_sealed_json


def pixels(num: int, *shape: int, seed: int = 0) -> np.ndarray:
    """(num, *shape) random uint8."""
    return np.random.RandomState(seed).randint(0, 256, (num, *shape)).astype(np.uint8)


def labels(num: int, num_classes: int) -> np.ndarray:
    return (np.arange(num) % num_classes).astype(np.uint8)


def write_idx(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_mnist(folder: Path, num_train: int = 60, num_test: int = 20, ending: str = "") -> Path:
    """The four IDX files. Returns the folder."""
    for part, num, seed in (("train", num_train, 0), ("t10k", num_test, 1)):
        write_idx(folder / f"{part}-images-idx3-ubyte{ending}", pixels(num, 28, 28, seed=seed))
        write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", labels(num, 10))
    return folder


def write_cifar10(folder: Path, num_each: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate((*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")):
        records = np.concatenate([labels(num_each, 10)[:, None], pixels(num_each, 3072, seed=seed)], axis=1)
        (folder / name).write_bytes(records.tobytes())
    return folder


def write_cifar100(folder: Path, num_train: int = 40, num_test: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, num) in enumerate((("train.bin", num_train), ("test.bin", num_test))):
        fine = labels(num, 100)[:, None]
        records = np.concatenate([fine // 5, fine, pixels(num, 3072, seed=seed)], axis=1)
        (folder / name).write_bytes(records.tobytes())
    return folder


def write_images(folder: Path, num: int = 12, size: tuple[int, int] = (10, 12), ending: str = ".png") -> Path:
    """Two class folders, cats and dogs, of num / 2 images of (width, height) each."""
    for index, image in enumerate(pixels(num, size[1], size[0], 3, seed=len(folder.name))):
        path = folder / ("cats", "dogs")[index % 2] / f"{index:03d}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def write_npz(path: Path, num: int = 40, **arrays: np.ndarray) -> Path:
    """images and labels, unless other arrays are given."""
    np.savez(path, **(arrays or {"images": pixels(num, 6, 6), "labels": labels(num, 4)}))
    return path


def write_shards(images: Path, out: Path, size: int, skip_damaged: bool = False) -> Path:
    """What prunelle prepare makes of a folder of images, in this process. Returns the folder."""
    out.mkdir(parents=True, exist_ok=True)
    plan = plan_shards(images, size)
    made = [make_shard(job, plan.shared(out, skip_damaged)) for job in plan.jobs]
    write_sealed_json(out / CLAIM, plan.claim())
    write_sealed_json(out / INDEX, index_of(plan, made).to_json())
    return out
