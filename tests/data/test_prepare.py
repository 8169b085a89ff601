"""The cut of a folder into jobs, and what a job makes of its images."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunelle.data import prepare, shards
from prunelle.data.folder import load_folder
from prunelle.data.images import centred
from prunelle.data.prepare import decoder, index_of, kept_shard, make_shard, plan_shards
from prunelle.data.shards import decode, shard_name
from prunelle.errors import DataError, DiskError, SettingError, WorkError
from prunelle.files import sha256

from . import small_sets


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of three images."""
    monkeypatch.setattr(shards, "MOST_IMAGES", 3)


def test_the_plan_by_hand(tmp_path: Path) -> None:
    """Eight images in train, two in val: 3 + 3 + 2 and 2; labels in runs, cats before dogs."""
    small_sets.write_images(tmp_path / "train", num=8)
    small_sets.write_images(tmp_path / "val", num=2)
    plan = plan_shards(tmp_path, 4)
    assert [(job["part"], job["number"], job["labels"]) for job in plan.jobs] == [
        ("train", 0, ((0, 3),)),
        ("train", 1, ((0, 1), (1, 2))),
        ("train", 2, ((1, 2),)),
        ("val", 0, ((0, 1), (1, 1))),
    ]
    assert plan.jobs[1]["names"] == ["train/cats/006.png", "train/dogs/001.png", "train/dogs/003.png"]
    assert (plan.size, plan.resize, plan.class_names, plan.num_images) == (4, 5, ("cats", "dogs"), 10)
    assert plan.num_bytes == 10 * (3 * 4 * 4 + 8)


def test_the_plan_is_of_names_sizes_and_the_size(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "a", num=6)
    shutil.copytree(root, tmp_path / "b")
    marks = [plan_shards(root, 4).source, plan_shards(tmp_path / "b", 4).source, plan_shards(root, 5).source]
    assert marks[0] == marks[1] != marks[2]
    with (root / "cats" / "000.png").open("ab") as file:
        file.write(b"\0")
    assert plan_shards(root, 4).source != marks[0]


def test_pixels_are_those_of_the_folder(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6, size=(30, 21))
    plan = plan_shards(root, 8)
    made = make_shard(plan.jobs[0], plan.shared(tmp_path, False))
    data = (tmp_path / shard_name("all", 0)).read_bytes()
    assert made == {"sha256": sha256(data), "bytes": len(data), "labels": ((0, 3),), "skipped": []}
    images = decode(tmp_path, np.frombuffer(data, np.uint8), 8).images
    assert (images == np.stack([centred(root / name, 8, 9) for name in plan.jobs[0]["names"]])).all()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_no_split_seed_changes_a_pixel(tmp_path: Path) -> None:
    """The first image of all decides how far images are reduced, also where the split puts it into val."""
    root = small_sets.write_images(tmp_path / "pets", num=20, size=(40, 40))
    Image.new("RGB", (8, 8)).save(root / "cats" / "000.png")
    for seed in range(12):
        held = load_folder(root, split_seed=seed, image_size=8)
        images = np.concatenate([split.images for split in (held.train, held.val, held.test)])  # type: ignore[attr-defined]
        found = {image.tobytes() for image in images}
        assert centred(root / "cats" / "002.png", 8, 8).tobytes() in found


def test_a_damaged_image_is_named_and_left_out_only_if_asked(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    (root / "cats" / "002.png").write_bytes(b"no image")
    broken = root / "dogs" / "005.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    plan = plan_shards(root, 4)
    out = tmp_path / "out"
    out.mkdir()
    first = make_shard(plan.jobs[0], plan.shared(out, False))
    ((name, why),) = first["skipped"]
    assert (first["sha256"], first["bytes"], name) == ("", 0, "cats/002.png") and not list(out.iterdir())
    assert why.startswith("cannot be read as an image (UnidentifiedImageError") and str(tmp_path) not in why
    made = [make_shard(job, plan.shared(out, True)) for job in plan.jobs]
    assert [one["labels"] for one in made] == [((0, 2),), ((1, 2),)]
    index = index_of(plan, made)
    assert [file for file, _ in index.skipped] == ["cats/002.png", "dogs/005.png"]
    assert [kept_shard(plan, out, job) for job in plan.jobs] == made


def test_a_class_that_is_lost_whole_is_an_error(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    for image in (root / "dogs").iterdir():
        image.write_bytes(b"no image")
    plan = plan_shards(root, 4)
    made = [make_shard(job, plan.shared(tmp_path, True)) for job in plan.jobs]
    assert made[1]["labels"] == ()
    with pytest.raises(DataError, match=r"pets: no image of all, class dogs, can be read; mend some, or take it out\."):
        index_of(plan, made)


def test_a_disk_that_is_away_does_not_pass_for_damage(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    plan = plan_shards(root, 4)
    (root / "cats" / "002.png").unlink()
    with pytest.raises(DataError, match=r"cats/002\.png: cannot be read \(No such file or directory\); mend that and"):
        make_shard(plan.jobs[0], plan.shared(tmp_path, True))
    with pytest.raises(DiskError, match=r"gone/all-000001\.safetensors: could not be written"):
        make_shard(plan.jobs[1], plan.shared(tmp_path / "gone", False))


def test_another_decoder_is_refused(tmp_path: Path) -> None:
    plan = plan_shards(small_sets.write_images(tmp_path / "pets", num=6), 4)
    shared = {**plan.shared(tmp_path, False), "decoder": "Pillow 1.0"}
    with pytest.raises(WorkError, match=r"a worker decodes with Pillow [\d.]+, .*the others with Pillow 1\.0: pixels"):
        make_shard(plan.jobs[0], shared)
    assert decoder().startswith("Pillow ") and plan.claim()["decoder"] == decoder()


def test_only_a_whole_shard_of_this_plan_is_kept(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    plan = plan_shards(root, 4)
    job = plan.jobs[0]
    path = tmp_path / shard_name("all", 0)
    assert kept_shard(plan, tmp_path, job) is None
    made = make_shard(job, plan.shared(tmp_path, False))
    assert kept_shard(plan, tmp_path, job) == made
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            assert kept_shard(plan, tmp_path, job) is None, at
    path.write_bytes(whole)
    shutil.copy(path, tmp_path / shard_name("all", 1))
    assert kept_shard(plan, tmp_path, plan.jobs[1]) is None
    assert kept_shard(plan_shards(root, 5), tmp_path, job) is None
    assert kept_shard(plan, tmp_path, job) == made


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    try:
        os.rename(root / "cats" / "000.png", os.fsencode(root) + b"/cats/0\xff.png")
    except OSError:
        pytest.skip("this file system takes only text")
    (root / "cats" / "002.png").write_bytes(b"no image")
    os.rename(root / "cats" / "002.png", os.fsencode(root) + b"/cats/2\xff.png")
    made = small_sets.write_shards(root, tmp_path / "made", 4, skip_damaged=True)
    assert [os.fsencode(file) for file, _ in shards.read_index(made).skipped] == [b"cats/2\xff.png"]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_sets.write_images(tmp_path / "pets", num=6)
    with pytest.raises(SettingError, match=r"image_size is 5000, must lie in 1\.\.4096"):
        plan_shards(root, 5000)
    monkeypatch.setattr(prepare, "MOST_SHARDS", 1)
    with pytest.raises(DataError, match="makes 2 shards, 1 are allowed; choose a smaller --size"):
        plan_shards(root, 4)


def test_a_worker_needs_no_torch() -> None:
    code = "import sys; import prunelle.data.prepare; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
