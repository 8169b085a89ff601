"""prunelle prepare: what it makes, how it goes on, what it refuses."""

import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from data import small_sets

from prunelle.cli.main import answer
from prunelle.data import shards
from prunelle.data.load import load_task
from prunelle.data.names import INDEX
from prunelle.data.shards import read_index, shard_name
from prunelle.engines import spark
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.recipes import prepare, preparing

Capture = pytest.CaptureFixture[str]


def plain_loop(
    function: Callable, jobs: Sequence, workers: int, watch: Callable = lambda: None, shared: object = None
) -> list:
    made = [function(job, shared) for job in jobs]
    watch()
    return made


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of three images, made in this process."""
    monkeypatch.setattr(shards, "MOST_IMAGES", 3)
    monkeypatch.setattr(prepare, "engine_of", lambda asked: (plain_loop, {}))


@pytest.fixture
def src(tmp_path: Path) -> Path:
    small_sets.write_images(tmp_path / "net" / "train", num=11, size=(13, 10))
    small_sets.write_images(tmp_path / "net" / "val", num=4, size=(13, 10))
    return tmp_path / "net"


def done(line: str, capsys: Capture) -> dict:
    """The JSON of a command that must succeed."""
    code = answer(["prepare", *shlex.split(line), "--json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return json.loads(out)


def refused(line: str, capsys: Capture, code: int = 2) -> str:
    """The sentence of a command that must fail."""
    assert answer(["prepare", *shlex.split(line)]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("prunelle: ") and err.count("\n") == 1
    return err.removeprefix("prunelle: ").strip()


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What stands there, and when it was written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in files(folder).items()}


def test_a_folder_becomes_shards_and_shards_a_task(src: Path, few: None, capsys: Capture) -> None:
    """11 and 4 images in shards of 3: 4 + 2 of them."""
    dst = src.parent / "made"
    found = done(f"{src} {dst} --size 8", capsys)
    on_disk = sum(path.stat().st_size for path in dst.glob("*.safetensors"))
    assert found.pop("seconds") > 0
    assert found == {"images": 15, "shards": 6, "made": 6, "bytes": on_disk, "skipped": 0, "size": 8, "classes": 2}
    plain, made = load_task(src, image_size=8), load_task(str(dst))
    assert made.fingerprint == plain.fingerprint
    for one, two in zip(plain.train.epoch(4), made.train.epoch(4), strict=True):
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_a_second_start_does_nothing(src: Path, few: None, capsys: Capture) -> None:
    dst = src.parent / "made"
    done(f"{src} {dst} --size 8", capsys)
    before = files(dst)
    assert done(f"{src} {dst} --size 8", capsys)["made"] == 0
    assert files(dst) == before


def test_a_damaged_shard_is_made_again(src: Path, few: None, capsys: Capture) -> None:
    dst = src.parent / "made"
    done(f"{src} {dst} --size 8", capsys)
    before = contents(dst)
    path = dst / shard_name("train", 2)
    path.write_bytes(before[path.name][:-1] + b"x")
    (dst / shard_name("val", 0)).unlink()
    assert done(f"{src} {dst} --size 8", capsys)["made"] == 2
    assert contents(dst) == before
    (dst / INDEX).write_bytes(before[INDEX][:-9])
    assert done(f"{src} {dst} --size 8", capsys)["made"] == 0
    assert contents(dst) == before


def test_processes_make_the_same_bytes(src: Path, few: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = src.parent / "one", src.parent / "two"
    done(f"{src} {one} --size 8", capsys)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "MOST_IMAGES", 3)
    assert done(f"{src} {two} --size 8 --workers 1", capsys)["made"] == 6
    assert contents(one) == contents(two)


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_every_engine_makes_the_same_bytes(
    engine: str, src: Path, few: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = src.parent / "one", src.parent / "two"
    done(f"{src} {one} --size 8", capsys)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "MOST_IMAGES", 3)
    assert done(f"{src} {two} --size 8 --workers 2 --engine {engine}", capsys)["made"] == 6
    assert contents(one) == contents(two)
    (src / "val" / "dogs" / "001.png").write_bytes(b"no image")
    sentence = refused(f"{src} {src.parent / 'three'} --size 8 --workers 1 --engine {engine}", capsys)
    assert "1 of 15 images cannot be prepared: val/dogs/001.png cannot be read as an image" in sentence


KILLED = """
    import os, signal, sys
    from prunelle.cli.main import answer
    from prunelle.data import shards
    from prunelle.recipes import prepare
    import prunelle.runs

    def plain_loop(function, jobs, workers, watch, shared):
        return [function(job, shared) for job in jobs]

    shards.MOST_IMAGES, replace = 3, os.replace
    prepare.engine_of = lambda asked: (plain_loop, {})
    for rename in map(int, sys.argv[3:]):
        if os.fork() == 0:
            left = rename

            def dying(*names):
                global left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(*names)

            os.replace = dying
            sys.exit(answer(["prepare", sys.argv[1], f"{sys.argv[2]}{rename}", "--size", "8"]))
        assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
"""


def test_killed_it_goes_on(src: Path, few: None, capsys: Capture) -> None:
    """Before the renames of the claim, of the fourth shard and of the index: 8 of them in all."""
    whole = src.parent / "whole"
    done(f"{src} {whole} --size 8", capsys)
    missing = {1: 6, 5: 3, 8: 0}
    given = [str(src), str(src.parent / "killed"), *map(str, missing)]
    subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), *given], check=True)
    for rename, num_missing in missing.items():
        dst = src.parent / f"killed{rename}"
        assert any(path.name.endswith(".tmp") for path in dst.iterdir()) and not (dst / INDEX).exists()
        assert done(f"{src} {dst} --size 8", capsys)["made"] == num_missing
        assert contents(dst) == contents(whole)


def test_damaged_images_are_named_or_left_out(src: Path, few: None, capsys: Capture) -> None:
    names = ["train/cats/002.png", "val/dogs/003.png"]
    for name in names:
        (src / name).write_bytes(b"no image")
    dst = src.parent / "made"
    sentence = refused(f"{src} {dst} --size 8", capsys)
    assert sentence.startswith(f"{src}: 2 of 15 images cannot be prepared: {names[0]} cannot be read as an image (Unid")
    assert f"); {names[1]} cannot be read" in sentence and "pass --skip-damaged to go on without them" in sentence
    assert not (dst / INDEX).exists()
    found = done(f"{src} {dst} --size 8 --skip-damaged", capsys)
    assert (found["images"], found["skipped"], found["made"]) == (13, 2, 2)
    assert [file for file, _ in read_index(dst).skipped] == names
    assert len(load_task(dst).test) == 3
    assert done(f"{src} {dst} --size 8 --skip-damaged", capsys)["made"] == 0
    assert "2 of 15 images cannot be prepared" in refused(f"{src} {dst} --size 8", capsys)


def test_another_source_size_or_decoder_is_refused(src: Path, few: None, capsys: Capture) -> None:
    dst = src.parent / "made"
    done(f"{src} {dst} --size 8", capsys)
    before = contents(dst)
    assert (
        refused(f"{src} {dst} --size 9", capsys) == f"DST {dst}: holds images of size 8, not 9; choose another folder."
    )
    (src / "train" / "cats" / "000.png").rename(src / "train" / "cats" / "999.png")
    other = f"was prepared from other images than {src} holds now (15 there, 15 here); choose another folder."
    assert refused(f"{src} {dst} --size 8", capsys) == f"DST {dst}: {other}"
    assert refused(f"{src} {dst} --size 8 --dry-run", capsys) == f"DST {dst}: {other}"
    (src / "train" / "cats" / "999.png").rename(src / "train" / "cats" / "000.png")
    assert contents(dst) == before
    claim = read_sealed_json(dst / "prepare.json")
    write_sealed_json(dst / "prepare.json", {**claim, "decoder": "Pillow 1.0"})
    assert done(f"{src} {dst} --size 8", capsys)["made"] == 0
    (dst / shard_name("val", 0)).unlink()
    assert "was begun with Pillow 1.0, here is Pillow " in refused(f"{src} {dst} --size 8", capsys)


def test_pixels_that_have_changed_are_noticed(src: Path, few: None, capsys: Capture) -> None:
    """Same name, same size in bytes: only the shard that must be made again can tell."""
    for name in ("000", "002"):
        small_sets.Image.new("RGB", (13, 10), (int(name), 0, 0)).save(src / "val" / "cats" / f"{name}.bmp")
        (src / "val" / "cats" / f"{name}.png").unlink()
    dst = src.parent / "made"
    done(f"{src} {dst} --size 8", capsys)
    small_sets.Image.new("RGB", (13, 10), (200, 0, 0)).save(src / "val" / "cats" / "000.bmp")
    (dst / shard_name("val", 0)).unlink()
    sentence = refused(f"{src} {dst} --size 8", capsys)
    assert "a shard that was made again is not what shards.json tells: images of" in sentence


def test_a_dry_run_does_nothing(src: Path, few: None, capsys: Capture) -> None:
    dst = src.parent / "made"
    found = done(f"{src} {dst} --size 8 --dry-run", capsys)
    assert found.pop("seconds") > 0
    assert found == {
        **{"images": 15, "shards": 6, "classes": 2, "size": 8, "engine": "local"},
        "bytes": 15 * (3 * 8 * 8 + 8),
    }
    assert not dst.exists()
    assert answer(["prepare", str(src), str(dst), "--size", "8", "--dry-run"]) == 0
    assert "15 of 8 x 8 pixels in 2 classes" in capsys.readouterr().out


SAID = {
    "src made": "Missing option '--size'; see prunelle prepare --help.",
    "src made --size 0": "--size is 0, must lie in 1..4096 pixels.",
    "src made --size 8 --engine sparc": "--engine 'sparc': must be one of local, ray, spark, did you mean 'spark'?.",
    "src made --size 8 --address x": "--address x: is of --engine ray and spark; leave it out.",
    "none made --size 8": "SRC none: is no folder; give one with a folder a class, or train/ and val/ of those.",
    "src src/below --size 8": "DST src/below: lies in SRC, where its shards would pass for images; choose another.",
    "src src --size 8": "DST src: lies in SRC, where its shards would pass for images; choose another.",
    "src strange --size 8": "DST strange: is not empty and holds no prepare.json; choose another folder.",
    "src strange/file --size 8": "DST strange/file: is a file; name a folder.",
    "strange made --size 8": "strange: holds 0 class folder (), at least 2 are expected, or train/ beside val/ or "
    "test/.",
}


@pytest.mark.parametrize("line", SAID)
def test_what_is_said(line: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_sets.write_images(tmp_path / "src")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "file").touch()
    assert refused(line, capsys) == SAID[line]
    assert sorted(os.listdir(tmp_path)) == ["src", "strange"]


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("spark", "pyspark")])
def test_a_missing_extra_is_named_before_images_are_looked_for(
    engine: str, package: str, src: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (preparing, spark):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert refused(f"{src} {src.parent / 'made'} --size 8 --engine {engine} --workers 1", capsys) == (
        f"--engine {engine}: {package} is not installed; pip install 'prunelle[{engine}]'."
    )
    assert not (src.parent / "made").exists()
