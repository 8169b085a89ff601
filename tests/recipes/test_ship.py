"""`prunelle ship` from end to end, on digits, with a timer that takes five samples a side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import timeit
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunelle.data.load import load_task
from prunelle.errors import CorruptFileError, LimitError, RunConflictError, SettingError, WorkError
from prunelle.files import read_sealed_json
from prunelle.measure.latency import Timing
from prunelle.models.save import Builder, save
from prunelle.recipes import measure
from prunelle.recipes.ship import ship_model
from prunelle.recipes.shipping import Asked, subject
from prunelle.recipes.staged import alive, staged
from prunelle.ship import auto, formats
from prunelle.ship.formats import Format
from prunelle.ship.images import timed_images
from prunelle.ship.shipped import is_shipped, open_shipped

pytest.importorskip("sklearn", reason="needs prunelle[demo]")


def rough(fns: list, **_: object) -> tuple[Timing, ...]:
    """The least of five calls each: enough to tell 30 microseconds from 3,000."""
    least = [min(timeit.repeat(fn, number=1, repeat=5)) * 1e3 for fn in fns]
    return tuple(Timing(ms, ms, ms, least[0] / ms, least[0] / ms, least[0] / ms, 5, 1) for ms in least)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "time_interleaved", rough)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lenet5_small with random weights, as if made on digits."""
    folder = tmp_path_factory.mktemp("saved") / "net"
    builder = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)
    torch.manual_seed(0)
    save(builder.make(), folder, builder=builder, preprocessing=load_task("digits").preprocessing)
    return folder


def asked(saved: Path, format: str = "pt2", **more) -> Asked:
    return Asked(str(saved), format, data="digits", **more)


def test_a_file_that_runs_stands_there_with_what_is_known_of_it(saved: Path, tmp_path: Path) -> None:
    told = ship_model(asked(saved), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.pt2", "report.html", "ship.json"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    run, found = open_shipped(tmp_path / "out", trust=True)
    images = next(iter(load_task("digits").test.epoch(7)))[0]
    assert run(images).shape == (7, 10)
    assert found.parity is not None and (found.parity.num_images, found.parity.where) == (400, "test split of digits")
    assert found.parity.equal == 1 and found.parity.top1_before == found.parity.top1_after
    assert found.size_bytes == told["size_bytes"] == (tmp_path / "out" / "model.pt2").stat().st_size
    sizes = found.sizes_bytes
    assert sizes["dense_safetensors"] == (saved / "model.safetensors").stat().st_size
    assert sizes["saved_folder"] == sum(path.stat().st_size for path in saved.iterdir())
    assert [row.name for row in found.table] == ["eager", "pt2 fp32"] and found.table[1].winner
    assert "100.00 % of 400 predictions equal" in told["summary"]
    json.dumps(told, allow_nan=False)


def test_a_second_start_does_nothing_and_another_is_refused(saved: Path, tmp_path: Path) -> None:
    told = ship_model(asked(saved), tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert ship_model(asked(saved), tmp_path / "out") == told
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(RunConflictError, match="holds a network of other settings"):
        ship_model(asked(saved, batch=2), tmp_path / "out")


def test_a_second_start_reads_no_data(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Asked("lenet5_small", "pt2", data="digits")
    told = [ship_model(one, tmp_path / one.model[-3:]) for one in (asked(saved), named)]

    def read(*_: object, **__: object) -> None:
        raise AssertionError("data is read")

    monkeypatch.setattr(measure, "load_task", read)
    assert [ship_model(one, tmp_path / one.model[-3:]) for one in (asked(saved), named)] == told


def test_a_second_start_finds_damage_and_needs_no_report(saved: Path, tmp_path: Path) -> None:
    ship_model(asked(saved), tmp_path / "out")
    (tmp_path / "out" / "report.html").unlink()
    files = [Path(file["path"]).name for file in ship_model(asked(saved), tmp_path / "out")["files"]]
    assert files == ["model.pt2", "ship.json"]
    (tmp_path / "out" / "model.pt2").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"model\.pt2: does not match its SHA-256 in ship\.json"):
        ship_model(asked(saved), tmp_path / "out")


def test_without_data_noise_is_compared_and_it_says_so(tmp_path: Path) -> None:
    told = ship_model(Asked("lenet5_small", "pt2"), tmp_path / "out")
    assert "No data: outputs compared on noise only: off by 0.0e+00" in told["summary"]
    assert told["parity"]["top1_after"] is None and told["data"] is None
    with pytest.raises(SettingError, match="is fitted to images; pass --data"):
        ship_model(Asked("lenet5_small", "onnx", "int8"), tmp_path / "int8")
    with pytest.raises(SettingError, match="--precision int16: is fitted to images; pass --data"):
        ship_model(Asked("lenet5_small", "native", "int16"), tmp_path / "int16")


def fake(run, size: int = 10) -> Format:
    """A format whose file is `size` zeros and whose runtime is `run`."""
    return Format(lambda order, folder: (folder / "f").write_bytes(bytes(size)) and None, lambda *_: run, "fake", ("",))


@pytest.mark.parametrize("value", [float("nan"), 1.0])
@pytest.mark.parametrize("format", ["onnx", "auto"])
def test_what_is_refused_leaves_nothing(
    saved: Path, tmp_path: Path, format: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fake(lambda images: torch.full((len(images), 10), value))
    monkeypatch.setattr(formats, "TABLE", dict.fromkeys(formats.TABLE, broken))
    with pytest.raises(WorkError, match="of 400 images give"):
        ship_model(asked(saved, format), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_auto_ships_the_fastest_of_those_that_pass(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = subject(asked(saved), None, False).opened.model.requires_grad_(False)

    def slow(images: torch.Tensor) -> torch.Tensor:
        return net(images) + 0 * sum(range(100_000))

    wrong = fake(lambda images: net(images) + 1)
    table = {"native": fake(slow, 1), "onnx": fake(net, 2), "openvino": wrong, "pt2": fake(slow, 4)}
    monkeypatch.setattr(formats, "TABLE", {**table, "packed": fake(net, 5)})
    told = ship_model(asked(saved, "auto"), tmp_path / "out")
    assert told["format"] == "onnx" and told["size_bytes"] == 2 and is_shipped(tmp_path / "out")
    rows = {row["name"]: row for row in told["table"]}
    assert rows.keys() >= {"eager", "native fp32", "native int16", "onnx int8", "openvino bf16", "pt2 fp32"}
    assert rows["openvino fp32"]["status"] == "refused" and "off by" in rows["openvino fp32"]["why"]
    assert rows["native fp32"]["ratio"] < 1 and rows["native fp32"]["status"] == "fit"
    assert told["sizes_bytes"]["native"] == 1 and told["sizes_bytes"]["packed"] == 5


def test_what_is_asked_to_be_small_is_refused_where_it_is_not(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = subject(asked(saved), None, False).opened.model.requires_grad_(False)
    monkeypatch.setattr(formats, "TABLE", formats.TABLE | {"onnx": fake(net, 10**7)})
    with pytest.raises(LimitError, match="onnx int8: is 10,000,000 bytes and the dense safetensors"):
        ship_model(asked(saved, "onnx", precision="int8"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_library_for_another_machine_is_judged_by_its_build_here(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = subject(asked(saved), None, False).opened.model.requires_grad_(False)
    targets = []

    def write(order, folder: Path) -> None:
        targets.append(order.target)
        (folder / "f").write_bytes(bytes(7))

    monkeypatch.setattr(formats, "TABLE", formats.TABLE | {"native": Format(write, lambda *_: net, "native", ("",))})
    told = ship_model(asked(saved, "native", target="aarch64-linux"), tmp_path / "out")
    assert targets == ["native", "aarch64-linux"]
    assert told["target"] == "aarch64-linux" and told["parity"]["equal"] == 1 and told["table"][0]["median_ms"] is None
    assert "judged by its build for this machine, not for aarch64-linux" in told["summary"]


def test_images_are_of_the_validation_split_or_of_noise() -> None:
    task = load_task("digits")
    wanted = next(iter(task.val.epoch(64)))[0]
    assert torch.equal(torch.cat(timed_images(task, task.input_shape, 2, 0)), wanted)
    assert [images.shape for images in timed_images(None, (1, 4, 4), 3, 0)] == [(3, 1, 4, 4)] * 32
    with pytest.raises(SettingError, match="--batch 201: digits has only 200 images to time"):
        timed_images(task, task.input_shape, 201, 0)


def test_a_second_source_is_another_network(saved: Path, tmp_path: Path) -> None:
    ship_model(asked(saved), tmp_path / "out")
    other = replace(asked(saved), model=str(tmp_path / "net"))
    builder = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)
    torch.manual_seed(1)
    save(builder.make(), tmp_path / "net", builder=builder)
    claim = read_sealed_json(tmp_path / "out" / "ship.json")
    assert claim["source_sha256"] != subject(other, None, False).source_sha256
    with pytest.raises(RunConflictError):
        ship_model(other, tmp_path / "out")


SHIP = """
import sys, time
from pathlib import Path
from prunelle.recipes import ship
from prunelle.recipes.shipping import Asked

def slow(*arguments, **settings):
    print("timing", flush=True)
    time.sleep(60)

ship.fastest = slow
ship.ship_model(Asked("lenet5_small", "pt2"), Path(sys.argv[1]))
"""


def test_a_kill_leaves_nothing_that_looks_finished_and_the_next_start_clears_up(tmp_path: Path) -> None:
    started = subprocess.Popen([sys.executable, "-c", SHIP, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None and started.stdout.readline() == "timing\n"
    (left,) = tmp_path.iterdir()
    assert left.name == f".out-{started.pid}.ship.tmp" and (left / "made" / "model.pt2").is_file() and alive(left)
    with staged(tmp_path / "out") as other:
        assert left.is_dir() and other != left
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert not (tmp_path / "out").exists()
    ship_model(Asked("lenet5_small", "pt2"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
