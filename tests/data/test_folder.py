import os
from pathlib import Path

import pytest

from prunelle.data.folder import find_parts, load_folder, scan
from prunelle.errors import DataError, SettingError

from . import small_sets


def names(files) -> set[str]:
    return {os.fsdecode(name) for name in files.names}


def test_plain_folder_is_split_seven_one_two(tmp_path: Path) -> None:
    small_sets.write_images(tmp_path / "pets", num=20)
    class_names, stored = scan(tmp_path / "pets")
    parts = find_parts(stored, 0)
    assert class_names == ("cats", "dogs")
    assert [len(part.labels) for part in parts] == [14, 2, 4]
    assert len(names(parts[0]) | names(parts[1]) | names(parts[2])) == 20
    for part in parts:
        labelled = zip(part.names, part.labels, strict=True)
        assert all(os.fsdecode(name).startswith(class_names[label]) for name, label in labelled)


def test_imagenet_without_test_keeps_val_for_the_end(tmp_path: Path) -> None:
    """Choices are made on what is cut from train; val/, which everyone reports on, is test."""
    small_sets.write_images(tmp_path / "train", num=20)
    small_sets.write_images(tmp_path / "val", num=6)
    (tmp_path / "test").mkdir()  # ImageNet's own test images have no class folders
    (tmp_path / "test" / "0.png").write_bytes(b"")
    train, val, test = find_parts(scan(tmp_path)[1], 0)
    assert [len(part.labels) for part in (train, val, test)] == [18, 2, 6]
    assert all(name.startswith("train") for name in names(train) | names(val))
    assert all(name.startswith("val") for name in names(test))


def test_three_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, num in (("train", 8), ("val", 6), ("test", 4)):
        small_sets.write_images(tmp_path / part, num=num)
    parts = find_parts(scan(tmp_path)[1], 0)
    assert [len(part.labels) for part in parts] == [8, 6, 4]
    assert [next(iter(names(part))).split("/")[0] for part in parts] == ["train", "val", "test"]


@pytest.mark.parametrize(("size", "expected"), [((10, 12), 10), ((300, 250), 224)])
def test_image_size_follows_the_first_image(size: tuple[int, int], expected: int, tmp_path: Path) -> None:
    small_sets.write_images(tmp_path / "pets", size=size)
    assert load_folder(tmp_path / "pets").input_shape == (3, expected, expected)


def test_refusals(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets")
    with pytest.raises(SettingError, match="image_size is 0"):
        load_folder(root, image_size=0)
    (root / "eels").mkdir()
    with pytest.raises(DataError, match=r"eels: holds no image; \.bmp, "):
        load_folder(root)
    with pytest.raises(DataError, match=r"holds 1 class folder \(pets\), at least 2 are expected"):
        load_folder(tmp_path)
    small_sets.write_images(tmp_path / "net" / "train")
    small_sets.write_images(tmp_path / "net" / "val")
    (tmp_path / "net" / "val" / "cats").rename(tmp_path / "net" / "val" / "cat")
    with pytest.raises(DataError, match="val/cat: there is no class of this name in train/"):
        load_folder(tmp_path / "net")


def test_links(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets")
    (root / "eels").symlink_to(root / "cats")
    (root / "cats" / "up").symlink_to(root)
    assert len(scan(root)[0]) == 3
    (root / "cats" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(DataError, match=r"pets: cannot be read as a folder of images \(FileNotFoundError"):
        load_folder(root)


@pytest.mark.parametrize("memory_bytes", [0, 2**28])
def test_truncated_image_is_named(memory_bytes: int, tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets")
    broken = root / "dogs" / "005.png"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"dogs/005\.png: cannot be read as an image"):
        task = load_folder(root, memory_bytes=memory_bytes)
        for split in (task.train, task.val, task.test):
            list(split.epoch(3))


def test_streamed_fingerprint_sees_names_sizes_and_image_size(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets")

    def mark(**kw) -> str:
        return load_folder(root, memory_bytes=0, **kw).fingerprint

    marks = [mark(), mark(split_seed=1), mark(image_size=8)]
    with (root / "cats" / "000.png").open("ab") as file:
        file.write(b"\0")
    marks.append(mark())
    (root / "cats" / "000.png").rename(root / "cats" / "999.png")
    marks.append(mark())
    assert len(set(marks)) == 5
