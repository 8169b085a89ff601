"""Folders of images, one folder a class: ImageNet's layout, or a plain one that is split here."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from prunelle.data.arrays import READY_BYTES, Arrays, ArraySet
from prunelle.data.augment import crop_flip
from prunelle.data.images import ENDINGS, centred, shorter_side
from prunelle.data.names import WHOLE
from prunelle.data.reading import reading
from prunelle.data.splits import deal
from prunelle.data.stream import StreamSplit
from prunelle.data.task import Preprocessing, Task
from prunelle.errors import DataError, SettingError

DEFAULT_SIZE = 224
# ImageNet's, which published networks were trained with.
SCALING = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class Files:
    """Paths relative to the root, as (N,) bytes, their sizes in bytes and labels, both (N,) int64."""

    names: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray

    def pick(self, indices: np.ndarray) -> Files:
        return Files(self.names[indices], self.sizes[indices], self.labels[indices])


def load_folder(
    root: Path,
    *,
    device: str | torch.device = "cpu",
    split_seed: int = 0,
    image_size: int | None = None,
    augment: bool = True,
    memory_bytes: int = READY_BYTES,
) -> Task:
    """The Task of a folder with train/ and val/ or test/, each of class folders, or of class folders alone.

    Without test/ that has class folders, val/ is the test, and val is cut from train/: a tenth, at most 10,000.
    Class folders alone are split 7 : 1 : 2. image_size: None takes the shorter side of the first image, at most 224.
    Plain images: shorter side to 8/7 of image_size (256 for 224; to image_size itself where the first image is no
    larger), centre cut. Up to memory_bytes of pixels are decoded once and augmented by a padded crop and flip;
    larger sets stream, with random resized crops. The fingerprint is of pixels in memory, of names and sizes streamed.
    Raises DataError, naming the file or folder, for a layout or an image that cannot be read.
    """
    check_side(image_size)
    class_names, stored = scan(root)
    size, resize = sides(root, stored, image_size)
    parts = find_parts(stored, split_seed)
    name = root.resolve().name
    if sum(len(part.labels) for part in parts) * 3 * size * size <= memory_bytes:
        train, val, test = (_decode(root, part, size, resize) for part in parts)
        change = partial(crop_flip, padding=max(1, size // 8))
        return ArraySet(name, train, val, test, SCALING, class_names, change).task(device, augment)
    splits = [
        StreamSplit(root, part.names, torch.from_numpy(part.labels), size, resize, SCALING, changes).to(device)
        for part, changes in zip(parts, (augment, False, False), strict=True)
    ]
    return Task(
        name=name,
        train=splits[0],
        val=splits[1],
        test=splits[2],
        input_shape=(3, size, size),
        num_classes=len(class_names),
        preprocessing=SCALING,
        class_names=class_names,
        fingerprint=fingerprint(parts, size, resize),
    )


def check_side(image_size: int | None) -> None:
    """Raises SettingError where no image could have that side."""
    if image_size is not None and not 1 <= image_size <= 4096:
        raise SettingError(f"image_size is {image_size}, must lie in 1..4096 pixels.")


def scan(root: Path) -> tuple[tuple[str, ...], dict[str, Files]]:
    """Class names in the order of their labels, and the files of each part as they are stored.

    Parts are train with val, test or both, or "all" where class folders alone are there. Raises DataError.
    """
    with reading(root, "a folder of images"):
        official = {part: root / part for part in ("train", "val", "test") if _class_folders(root / part)}
        if "train" not in official or len(official) == 1:
            class_names = _class_folders(root)
            return class_names, {WHOLE: _scan(root, root, class_names)}
        class_names = _class_folders(official["train"])
        return class_names, {
            part: _scan(root, folder, class_names, part == "train") for part, folder in official.items()
        }


def sides(root: Path, stored: dict[str, Files], image_size: int | None) -> tuple[int, int]:
    """(side of the squares, shorter side before they are cut), in pixels; the first stored image decides, see
    load_folder, so that no split seed changes a pixel."""
    first = shorter_side(root / os.fsdecode(next(iter(stored.values())).names[0]))
    size = image_size or min(first, DEFAULT_SIZE)
    return size, size if first <= size else round(size * 8 / 7)


def find_parts(stored: dict[str, Files], split_seed: int) -> list[Files]:
    """The files of train, val and test."""
    dealt = deal({part: files.labels for part, files in stored.items()}, split_seed)
    return [stored[part].pick(indices) for part, indices in dealt]


def _class_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def _scan(root: Path, folder: Path, class_names: tuple[str, ...], every_class: bool = True) -> Files:
    """The images in the class folders of `folder`, at any depth, in the order of their names.

    every_class: whether a class without images is an error; a small val/ or test/ may lack some.
    """
    if len(class_names) < 2:
        raise DataError(
            f"{folder}: holds {len(class_names)} class folder ({', '.join(class_names)}), at least 2 are expected, or "
            "train/ beside val/ or test/."
        )
    strange = sorted(set(_class_folders(folder)) - set(class_names))
    if strange:
        raise DataError(f"{folder / strange[0]}: there is no class of this name in train/; move it or add the class.")
    names, sizes, labels = [], [], []
    for label, class_name in enumerate(class_names):
        files = sorted(_images_below(folder / class_name))
        if not files and every_class:
            raise DataError(f"{folder / class_name}: holds no image; {', '.join(ENDINGS)} are read.")
        names += [os.fsencode(os.path.relpath(path, root)) for path, _ in files]
        sizes += [num_bytes for _, num_bytes in files]
        labels += [label] * len(files)
    if not names:
        raise DataError(f"{folder}: holds no image; {', '.join(ENDINGS)} are read.")
    return Files(np.array(names), np.array(sizes, np.int64), np.array(labels, np.int64))


def _images_below(folder: Path) -> list[tuple[str, int]]:
    if not folder.is_dir():
        return []
    found: list[tuple[str, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):  # a link may lead back up
                found += _images_below(Path(entry.path))
            elif entry.name.lower().endswith(ENDINGS):
                status = entry.stat()
                if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
                    raise DataError(f"{entry.path}: is no plain file; take it out of the folder.")
                found.append((entry.path, status.st_size))
    return found


def _decode(root: Path, part: Files, size: int, resize: int) -> Arrays:
    paths = [root / os.fsdecode(name) for name in part.names]
    with ThreadPoolExecutor() as pool:  # pillow lets go of the interpreter while it decodes
        images = list(pool.map(partial(centred, size=size, resize=resize), paths))
    return Arrays(np.stack(images), part.labels)


def fingerprint(parts: list[Files], size: int, resize: int) -> str:
    """SHA-256, in hex, of names, sizes and labels, and of how large the images are made."""
    digest = hashlib.sha256(f"{size} {resize}".encode())
    for part in parts:
        digest.update(b"".join(name + b"\0" for name in part.names))
        digest.update(part.sizes.astype("<i8").tobytes() + part.labels.astype("<i8").tobytes())
    return digest.hexdigest()
