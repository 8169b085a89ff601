"""What prepared images are on disk and as a Task, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from prunelle.data import shards
from prunelle.data.folder import load_folder
from prunelle.data.load import load_task
from prunelle.data.names import INDEX
from prunelle.data.shard_split import ShardSplit, load_shards
from prunelle.data.shards import decode, encode, is_sealed, per_shard, runs, shard_name, spread
from prunelle.data.task import Split, Task
from prunelle.errors import CorruptFileError, DataError, PrunelleError, SettingError
from prunelle.files import read_sealed_json, sha256, write_sealed_json
from prunelle.seeds import generator

from . import small_sets

SIZE = 8


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of three images."""
    monkeypatch.setattr(shards, "MOST_IMAGES", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_sets.write_images(tmp_path / "net" / "train", num=23, size=(13, 10))
    small_sets.write_images(tmp_path / "net" / "val", num=8, size=(10, 19))
    return tmp_path / "net"


def same(left: Split, right: Split, seed: int | None = None, augmented: bool = False) -> bool:
    """Whether an epoch is bit for bit that of the other; shuffled by a seed."""
    augment = per_batch if augmented else None
    one, two = (
        list(split.epoch(5, order=None if seed is None else generator(seed, "order"), augment=augment))
        for split in (left, right)
    )
    pairs = zip(one, two, strict=True)
    return len(one) > 0 and all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def per_batch(number: int) -> torch.Generator:
    return generator(5, "augment", number)


def test_a_shard_is_these_bytes() -> None:
    """Two images of one pixel, by hand: length of the header, header, labels, pixels."""
    images = np.array([1, 2, 3, 253, 254, 255], np.uint8).reshape(2, 3, 1, 1)
    data = encode(images, np.array([0, 5]), {"number": 0})
    assert data[-22:] == bytes([0] * 8 + [5] + [0] * 7 + [1, 2, 3, 253, 254, 255])
    length = int.from_bytes(data[:8], "little")
    assert len(data) == 8 + length + 22 and length % 8 == 0
    info = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["info"])
    assert info["number"] == 0 and is_sealed(data, info)
    shard = decode(Path("x"), np.frombuffer(data, np.uint8), 1)
    assert (shard.images == images).all() and shard.labels.tolist() == [0, 5] and shard.info == info
    assert encode(images, np.array([0, 5]), {"number": 0}) == data


def test_the_cut() -> None:
    assert per_shard(32) == 1024  # 3 MB
    assert per_shard(105) == 1014 and per_shard(4096) == 1  # 32 MiB by the bytes of an image; one at least
    assert runs([2, 2, 0, 2]) == ((2, 2), (0, 1), (2, 1))
    assert spread(runs([2, 2, 0, 2])).tolist() == [2, 2, 0, 2] and spread([]).tolist() == []


@pytest.mark.parametrize("memory_bytes", [0, 2**28])
@pytest.mark.parametrize("split_seed", [0, 3])
def test_training_from_shards_is_training_from_the_folder(
    memory_bytes: int, split_seed: int, folder: Path, few: None, tmp_path: Path
) -> None:
    made = small_sets.write_shards(folder, tmp_path / "made", SIZE)
    plain = load_folder(folder, image_size=SIZE, split_seed=split_seed)
    found = load_shards(made, split_seed=split_seed, memory_bytes=memory_bytes)
    assert isinstance(found.train, ShardSplit) == (memory_bytes == 0)
    assert [len(s) for s in (found.train, found.val, found.test)] == [21, 2, 8]
    for one, two in ((found.train, plain.train), (found.val, plain.val), (found.test, plain.test)):
        assert same(one, two)
        assert same(one, two, seed=1, augmented=True)
    epochs = (next(iter(found.train.epoch(30, augment=augment)))[0] for augment in (None, per_batch))
    assert not torch.equal(*epochs)
    assert (
        (found.class_names, found.input_shape)
        == (plain.class_names, plain.input_shape)
        == (("cats", "dogs"), (3, 8, 8))
    )
    assert (found.fingerprint == plain.fingerprint) == (memory_bytes > 0)


def test_class_folders_alone(few: None, tmp_path: Path) -> None:
    images = small_sets.write_images(tmp_path / "pets", num=20)
    made = small_sets.write_shards(images, tmp_path / "made", 10)
    assert sorted(p.name for p in made.glob("all-*")) == [shard_name("all", number) for number in range(7)]
    plain, found = load_task(images, image_size=10), load_task(made)
    assert [len(s) for s in (found.train, found.val, found.test)] == [14, 2, 4]
    assert found.fingerprint == plain.fingerprint and same(found.test, plain.test)


def test_other_tools_can_read_a_shard(tmp_path: Path) -> None:
    images = small_sets.write_images(tmp_path / "pets", num=6)
    found = load_file(small_sets.write_shards(images, tmp_path / "made", 10) / shard_name("all", 0))
    assert found["images"].shape == (6, 3, 10, 10) and found["labels"].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_shard_is_checked_when_it_is_first_read(folder: Path, few: None, tmp_path: Path) -> None:
    made = small_sets.write_shards(folder, tmp_path / "made", SIZE)
    path = made / shard_name("val", 1)
    flip(path, -1)
    task = load_shards(made, memory_bytes=0)
    assert list(task.train.epoch(5)) and list(task.val.epoch(5))
    with pytest.raises(CorruptFileError, match=r"val-000001\.safetensors: does not match its SHA-256 in shards\.json"):
        list(task.test.epoch(5))


def test_an_epoch_that_is_left_early_ends(folder: Path, few: None, tmp_path: Path) -> None:
    task = load_shards(small_sets.write_shards(folder, tmp_path / "made", SIZE), memory_bytes=0)
    epoch = task.train.epoch(2)
    inputs, _ = next(epoch)
    inputs.zero_()
    epoch.close()  # type: ignore[attr-defined]
    assert not torch.equal(next(task.train.epoch(2))[0], inputs)


def test_more_shards_than_a_process_may_have_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(shards, "MOST_IMAGES", 1)
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=120), tmp_path / "made", 2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        task = load_shards(made, memory_bytes=0)
        assert sum(len(y) for split in (task.train, task.val, task.test) for _, y in split.epoch(5)) == 120
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def read_all(root: Path, memory_bytes: int = 0) -> Task:
    task = load_shards(root, memory_bytes=memory_bytes)
    for split in (task.train, task.val, task.test):
        list(split.epoch(5))
    return task


def said(root: Path, error: type[PrunelleError] = CorruptFileError) -> str:
    """The sentence with which a folder is refused, held in memory or not."""
    told = set()
    for memory_bytes in (0, 2**28):
        with pytest.raises(error) as caught:
            read_all(root, memory_bytes)
        told.add(str(caught.value))
    (sentence,) = told
    assert "\n" not in sentence and str(root) in sentence
    return sentence


def test_every_flip_and_every_truncation_is_found(few: None, tmp_path: Path) -> None:
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=10), tmp_path / "made", 2)
    read_all(made)
    for path in (made / INDEX, made / shard_name("all", 2)):
        whole = path.read_bytes()
        for at in {*range(0, len(whole), 7), len(whole) - 1}:
            flip(path, at)
            said(made)
            path.write_bytes(whole[:at])
            said(made)
            path.write_bytes(whole)
    read_all(made)


def replaced(**values: object) -> Callable[[dict], None]:
    return lambda index: index.update(values)


def in_shard(**values: object) -> Callable[[dict], None]:
    return lambda index: index["parts"]["all"][0].update(values)


HOSTILE: dict[str, Callable[[dict], None]] = {
    "another format": replaced(format="prunelle shards 2"),
    "no size": lambda index: index.pop("size"),
    "true": replaced(size=True),
    "size 0": replaced(size=0),
    "another size": replaced(size=4),
    "cut larger than resized": replaced(resize=1),
    "a class twice": replaced(class_names=["cats", "cats"]),
    "one class": replaced(class_names=["cats"]),
    "a class of numbers": replaced(class_names=["cats", 3]),
    "a part of elsewhere": lambda index: index["parts"].update({"../all": index["parts"].pop("all")}),
    "train alone": lambda index: index["parts"].update({"train": index["parts"].pop("all")}),
    "both layouts": lambda index: index["parts"].update({"train": index["parts"]["all"]}),
    "no shards": replaced(parts={"all": []}),
    "parts that are a list": replaced(parts=[]),
    "a shard more": lambda index: index["parts"]["all"].append(index["parts"]["all"][0]),
    "labels beyond the classes": in_shard(labels=[[2, 3]]),
    "labels below 0": in_shard(labels=[[-1, 3]]),
    "other labels": in_shard(labels=[[0, 2], [1, 1]]),
    "more labels than the file holds": in_shard(labels=[[0, 3]] * 2),
    "a trillion images": in_shard(labels=[[0, 10**12]]),
    "labels that are a text": in_shard(labels="00"),
    "a checksum that is none": in_shard(sha256="0" * 64),
    "a checksum of numbers": in_shard(sha256=7),
    "bytes of another file": in_shard(bytes=10**9),
    "skipped of one": replaced(skipped=[["x"]]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_index_that_lies_is_refused(name: str, few: None, tmp_path: Path) -> None:
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=10), tmp_path / "made", 2)
    index = read_sealed_json(made / INDEX)
    HOSTILE[name](index)
    write_sealed_json(made / INDEX, index)
    said(made)


def test_a_shard_that_lies_is_refused(few: None, tmp_path: Path) -> None:
    """Sealed anew and told to the index: only its header and labels can give it away."""
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=10), tmp_path / "made", 2)
    path = made / shard_name("all", 0)
    whole = path.read_bytes()
    pixels = np.zeros((3, 3, 2, 2), np.uint8)
    length = int.from_bytes(whole[:8], "little")
    lies = [
        encode(pixels, np.array([0, 0, 1]), {}),
        encode(pixels[:2], np.array([0, 0]), {}),
        encode(pixels[:, :, :1], np.array([0, 0, 0]), {}),
        (2**63).to_bytes(8, "little") + whole[8:],
        (length + 8).to_bytes(8, "little") + whole[8:],
        whole[:8] + b"[" * length + whole[8 + length :],
        whole.replace(b'"shape":[3]', b'"shape":[9]'),
        whole.replace(b'"U8"', b'"I8"'),
        whole[:8],
    ]
    index = read_sealed_json(made / INDEX)
    for lie in lies:
        path.write_bytes(lie)
        index["parts"]["all"][0].update(sha256=sha256(lie), bytes=len(lie))
        write_sealed_json(made / INDEX, index)
        said(made)


def test_what_is_missing_is_named(few: None, tmp_path: Path) -> None:
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=10), tmp_path / "made", 2)
    (made / shard_name("all", 1)).rename(made / "elsewhere")
    assert said(made) == f"{made / shard_name('all', 1)}: is missing; prepare the folder again."
    (made / shard_name("all", 1)).mkdir()
    assert "is missing" in said(made)
    shutil.rmtree(made / shard_name("all", 1))
    (made / shard_name("all", 1)).write_bytes(b"123")
    assert "all-000001.safetensors: has 3 bytes, shards.json tells of " in said(made)
    (made / INDEX).unlink()
    with pytest.raises(DataError, match="holds an unfinished set; start its prunelle prepare again"):
        load_task(made)


def test_the_size_is_that_of_the_shards(tmp_path: Path) -> None:
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets", num=10), tmp_path / "made", 6)
    assert load_task(made, image_size=6).input_shape == (3, 6, 6)
    with pytest.raises(SettingError, match="image_size is 4, its images were prepared with 6 pixels a side; leave it"):
        load_task(made, image_size=4)


def test_the_fingerprint_is_of_pixels(folder: Path, few: None, tmp_path: Path) -> None:
    def mark(root: Path, **how: int) -> str:
        return load_shards(root, memory_bytes=0, **how).fingerprint  # type: ignore[arg-type]

    made = small_sets.write_shards(folder, tmp_path / "made", SIZE)
    marks = [mark(made), mark(made, split_seed=1), mark(small_sets.write_shards(folder, tmp_path / "other", 4))]
    image = folder / "val" / "cats" / "000.png"
    shutil.copy(folder / "val" / "cats" / "002.png", image)
    marks.append(mark(small_sets.write_shards(folder, tmp_path / "changed", SIZE)))
    assert len(set(marks)) == 4
    moved = shutil.copytree(made, tmp_path / "moved")
    assert mark(moved) == marks[0]
