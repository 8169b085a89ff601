"""The files of a prepared folder: images of one size as raw bytes, a checksum for each file. Free of torch.

DST/prepare.json              what the folder is made from, sealed, written first
DST/PART-NUMBER.safetensors   a shard: labels (N,) int64, images (N, 3, size, size) uint8, sealed
DST/shards.json               classes, labels and the SHA-256 of every shard, sealed, written last: it means done
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from prunelle.data.names import INDEX, WHOLE
from prunelle.errors import CorruptFileError
from prunelle.files import EMPTY_SEAL, LARGEST_JSON_BYTES, read_sealed_json, sha256, to_json

FORMAT = "prunelle shards 1"
MOST_IMAGES = 1024
MOST_BYTES = 32 * 1024**2
MAX_SIDE = 4096

Runs = tuple[tuple[int, int], ...]
"""(label, how many images in a row have it): stored images are sorted by label."""


def per_shard(size: int) -> int:
    """How many images of `size` x `size` pixels a shard has, whoever makes it.

    >>> per_shard(64), per_shard(224)
    (1024, 222)
    """
    return max(1, min(MOST_IMAGES, MOST_BYTES // (3 * size * size)))


def shard_name(part: str, number: int) -> str:
    """Made from its place and never read from a file, so no index can point outside its folder."""
    return f"{part}-{number:06d}.safetensors"


def runs(labels: Iterable[int]) -> Runs:
    """
    >>> runs([0, 0, 2])
    ((0, 2), (2, 1))
    """
    return tuple((label, len(list(group))) for label, group in groupby(labels))


def spread(labels: Iterable[Iterable[int]]) -> np.ndarray:
    """`runs` backwards: (N,) int64."""
    pairs = np.array([tuple(pair) for pair in labels], np.int64).reshape(-1, 2)
    return np.repeat(pairs[:, 0], pairs[:, 1])


@dataclass(frozen=True, eq=False)
class Shard:
    """images (N, 3, size, size) uint8 and labels (N,) int64, views of the file's bytes. info: what its maker says."""

    images: np.ndarray
    labels: np.ndarray
    info: dict


def encode(images: np.ndarray, labels: np.ndarray, info: dict) -> bytes:
    """A shard's bytes; the same ones for the same arguments. They carry their own SHA-256, taken with its digits 0.

    images: (N, 3, size, size) uint8. labels: (N,) int64. info: plain JSON values, without "seal".
    """
    # One key: safetensors writes several in an order that changes from process to process.
    metadata = {"info": to_json({**info, "seal": EMPTY_SEAL})}
    body = save({"images": np.ascontiguousarray(images), "labels": labels.astype("<i8")}, metadata)
    return body.replace(EMPTY_SEAL.encode(), sha256(body).encode(), 1)


def decode(path: Path, data: np.ndarray, size: int) -> Shard:
    """The arrays inside a shard's bytes, (num_bytes,) uint8, without copying any. No number in it is believed: the
    header must be the very one that its arrays have. `path` is for the error, CorruptFileError."""
    try:
        length = int.from_bytes(data[:8].tobytes(), "little")
        if not 0 < length <= min(len(data) - 8, LARGEST_JSON_BYTES):
            raise ValueError("a header longer than the file")
        header = json.loads(data[8 : 8 + length].tobytes())
        info = json.loads(header.pop("__metadata__")["info"])
        num = header["labels"]["shape"][0]
        first, last = 8 * num, 8 * num + 3 * size * size * num
        expected = {
            "labels": {"dtype": "I64", "shape": [num], "data_offsets": [0, first]},
            "images": {"dtype": "U8", "shape": [num, 3, size, size], "data_offsets": [first, last]},
        }
        if type(num) is not int or num < 0 or header != expected or 8 + length + last != len(data):
            raise ValueError("a header of another file")
        body = data[8 + length :]
        return Shard(body[first:].reshape(num, 3, size, size), body[:first].view("<i8"), dict(info))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise CorruptFileError(
            f"{path}: is not a shard of images of {size} pixels; prepare the folder again."
        ) from None


def is_sealed(data: bytes, info: dict) -> bool:
    """Whether these are the very bytes that `encode` made."""
    seal = str(info.get("seal"))
    return len(seal) == len(EMPTY_SEAL) and sha256(data.replace(seal.encode(), EMPTY_SEAL.encode(), 1)) == seal


@dataclass(frozen=True)
class Entry:
    """What the index says of one shard. bytes: of its file."""

    sha256: str
    bytes: int
    labels: Runs


@dataclass(frozen=True)
class Index:
    """parts: the shards of each stored part, in order. source: fingerprint of what was prepared. skipped: (file, why).

    size: side of the images. resize: shorter side before they were cut.
    """

    size: int
    resize: int
    class_names: tuple[str, ...]
    source: str
    parts: dict[str, tuple[Entry, ...]]
    skipped: tuple[tuple[str, str], ...]

    def to_json(self) -> dict:
        parts = {part: [vars(entry) for entry in entries] for part, entries in self.parts.items()}
        return {"format": FORMAT, **vars(self), "parts": parts}


def read_index(root: Path) -> Index:
    """Raises CorruptFileError, naming the file, for damage and for anything that no prepared folder says."""
    path = root / INDEX
    values = read_sealed_json(path)
    try:
        if values["format"] != FORMAT:
            raise ValueError(values["format"])
        size, names = values["size"], values["class_names"]
        index = Index(
            size=whole(size, 1, MAX_SIDE),
            resize=whole(values["resize"], size, 2 * MAX_SIDE),
            class_names=tuple(map(word, names)),
            source=word(values["source"]),
            parts={part: tuple(map(_entry, shards)) for part, shards in values["parts"].items()},
            skipped=tuple((word(file), word(why)) for file, why in values["skipped"]),
        )
        _check(index)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise CorruptFileError(f"{path}: is not the index of prepared images; prepare the folder again.") from None
    return index


def _check(index: Index) -> None:
    """Raises ValueError."""
    if len(index.class_names) < 2 or len(set(index.class_names)) < len(index.class_names):
        raise ValueError("classes")
    if set(index.parts) not in ({WHOLE}, {"train", "val"}, {"train", "test"}, {"train", "val", "test"}):
        raise ValueError("parts")
    if not all(any(entry.labels for entry in entries) for entries in index.parts.values()):
        raise ValueError("a part without images")
    for entry in (entry for entries in index.parts.values() for entry in entries):
        if not all(label < len(index.class_names) for label, _ in entry.labels):
            raise ValueError("a label without a class")
        num = sum(count for _, count in entry.labels)
        if num > per_shard(index.size) or entry.bytes < num * (3 * index.size**2 + 8):
            raise ValueError("more images than the file holds")


def _entry(values: dict) -> Entry:
    labels = tuple((whole(label, 0, 2**31), whole(count, 1, MOST_IMAGES)) for label, count in values["labels"])
    return Entry(word(values["sha256"]), whole(values["bytes"], 1, 2**31), labels)


def whole(value: object, low: int, high: int) -> int:
    """The value, when it is a whole number in [low, high]. Raises ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(value)
    return value


def word(value: object) -> str:
    """The value, when it is a text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(value)
    return value
