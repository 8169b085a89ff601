"""A folder of images cut into jobs, and the job that makes one shard: the same bytes whichever engine runs it."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from prunelle.data.images import centred
from prunelle.data.shards import (
    FORMAT,
    Entry,
    Index,
    decode,
    encode,
    is_sealed,
    per_shard,
    runs,
    shard_name,
    spread,
)
from prunelle.errors import CorruptFileError, DataError, WorkError
from prunelle.files import atomic_write, read_bytes, sha256

MOST_SHARDS = 50_000
"""So that the index stays below what is read of a JSON file."""


@dataclass(frozen=True)
class Plan:
    """jobs: {"part", "number", "names": paths below root, "labels": runs}. source: fingerprint of names and sizes."""

    root: Path
    size: int
    resize: int
    class_names: tuple[str, ...]
    source: str
    jobs: tuple[dict, ...]

    @property
    def num_images(self) -> int:
        return sum(len(job["names"]) for job in self.jobs)

    @property
    def num_bytes(self) -> int:
        """Of pixels and labels; headers come on top."""
        return self.num_images * (3 * self.size**2 + 8)

    def claim(self) -> dict:
        """What DST/prepare.json says: the same for the same images and size."""
        told = {"size": self.size, "resize": self.resize, "source": self.source, "num_images": self.num_images}
        return {"format": FORMAT, **told, "decoder": decoder()}

    def shared(self, out: Path, skip_damaged: bool) -> dict:
        """What every job is told besides itself."""
        places = {"root": str(self.root.resolve()), "out": str(out.resolve())}
        sides = {"size": self.size, "resize": self.resize, "source": self.source}
        return {**places, **sides, "skip_damaged": skip_damaged, "decoder": decoder()}


def plan_shards(root: Path, size: int) -> Plan:
    """Cut the images below `root`, sorted by part, class and name, into pieces of `per_shard(size)`.

    The cut knows nothing of who makes the shards. Raises DataError as data.folder.load_folder, SettingError.
    """
    # Here, because it brings torch, which no worker that only resizes images needs.
    from prunelle.data.folder import check_side, fingerprint, scan, sides

    check_side(size)
    class_names, stored = scan(root)
    size, resize = sides(root, stored, size)
    num = per_shard(size)
    jobs = [
        {
            "part": part,
            "number": at // num,
            "names": [os.fsdecode(name) for name in files.names[at : at + num]],
            "labels": runs(files.labels[at : at + num].tolist()),
        }
        for part, files in stored.items()
        for at in range(0, len(files.labels), num)
    ]
    if len(jobs) > MOST_SHARDS:
        raise DataError(f"{root}: makes {len(jobs):,} shards, {MOST_SHARDS:,} are allowed; choose a smaller --size.")
    return Plan(root, size, resize, class_names, fingerprint(list(stored.values()), size, resize), tuple(jobs))


def decoder() -> str:
    """The libraries that decide pixels: machines that differ here must not make one folder together."""
    found = {name: features.version(name) for name in ("libjpeg_turbo", "jpg", "webp")}
    return ", ".join([f"Pillow {PIL.__version__}", *(f"{name} {number}" for name, number in found.items() if number)])


def make_shard(job: dict, shared: dict) -> dict:
    """Decode, resize and cut a job's images as load_folder does, and write its shard.

    Returns {"sha256", "bytes", "labels", "skipped"}; skipped: [file, why] of images that cannot be decoded. With such
    images and without skip_damaged nothing is written and sha256 is "".
    Raises WorkError where another Pillow is at work, DataError for a file that the system does not give, DiskError.
    """
    if decoder() != shared["decoder"]:
        raise WorkError(
            f"a worker decodes with {decoder()}, the others with {shared['decoder']}: pixels may differ; install the "
            "same versions everywhere."
        )
    images, labels, skipped = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which the pixels do not depend on
        for name, label in zip(job["names"], spread(job["labels"]).tolist(), strict=True):
            try:
                images.append(centred(Path(shared["root"]) / name, shared["size"], shared["resize"]))
                labels.append(label)
            except DataError as error:
                skipped.append([name, why(Path(shared["root"]), name, error)])
    told = {"labels": runs(labels), "skipped": skipped}
    if skipped and not shared["skip_damaged"]:
        return {**told, "sha256": "", "bytes": 0}
    stacked = np.stack(images) if images else np.empty((0, 3, shared["size"], shared["size"]), np.uint8)
    info = {"part": job["part"], "number": job["number"], "source": shared["source"], "skipped": skipped}
    data = encode(stacked, np.array(labels, np.int64), info)
    atomic_write(Path(shared["out"]) / shard_name(job["part"], job["number"]), data)
    return {**told, "sha256": sha256(data), "bytes": len(data)}


def why(root: Path, name: str, error: DataError) -> str:
    """What is wrong with a damaged image, without the place where it lay.

    Raises DataError for one that cannot be read at all: a disk that is away must not pass for damaged images.
    """
    path = root / name
    try:
        path.read_bytes()
    except OSError as failed:
        raise DataError(f"{path}: cannot be read ({failed.strerror}); mend that and start again.") from None
    told = str(error).replace(f"{path}: ", "").replace(str(path), name)
    reason, _, advice = told.rpartition("; ")
    return reason or advice.rstrip(".")


def kept_shard(plan: Plan, out: Path, job: dict) -> dict | None:
    """What make_shard returned for a shard that stands in `out` whole, or None where it must be made."""
    path = out / shard_name(job["part"], job["number"])
    if not path.exists():
        return None
    try:
        data = read_bytes(path, plan.num_bytes + 2**24)
        shard = decode(path, np.frombuffer(data, np.uint8), plan.size)
        skipped = [[str(file), str(reason)] for file, reason in shard.info["skipped"]]
    except (CorruptFileError, KeyError, TypeError, ValueError):
        return None
    place = {"part": job["part"], "number": job["number"], "source": plan.source}
    if any(shard.info.get(key) != value for key, value in place.items()) or not is_sealed(data, shard.info):
        return None
    return {"sha256": sha256(data), "bytes": len(data), "labels": runs(shard.labels.tolist()), "skipped": skipped}


def index_of(plan: Plan, made: list[dict]) -> Index:
    """The index of shards that stand, one for each job in order. Raises DataError where a class lost every image."""
    parts: dict[str, tuple[Entry, ...]] = {}
    for part, group in groupby(zip(plan.jobs, made, strict=True), key=lambda pair: pair[0]["part"]):
        parts[part] = tuple(Entry(one["sha256"], one["bytes"], tuple(one["labels"])) for _, one in group)
    first = next(iter(parts))
    for part, entries in parts.items():
        seen = {label for entry in entries for label, _ in entry.labels}
        lost = [name for label, name in enumerate(plan.class_names) if label not in seen]
        if lost and (part == first or not seen):
            raise DataError(
                f"{plan.root}: no image of {part}, class {lost[0]}, can be read; mend some, or take it out."
            )
    skipped = tuple((file, reason) for one in made for file, reason in one["skipped"])
    return Index(plan.size, plan.resize, plan.class_names, plan.source, parts, skipped)
