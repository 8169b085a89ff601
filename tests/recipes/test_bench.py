"""`prunelle bench`: what is opened, on which images, and what is told; the timer takes five samples a side."""

from __future__ import annotations

import json
import timeit
from pathlib import Path

import pytest
import torch

from prunelle.data.load import load_task
from prunelle.errors import CorruptFileError, ModelError, SettingError, UntrustedCodeError
from prunelle.files import read_sealed_json
from prunelle.measure.latency import Timing
from prunelle.models.open import open_model
from prunelle.models.save import Builder, save
from prunelle.recipes import bench as room
from prunelle.recipes import measure_shipped as shipped_room
from prunelle.recipes.artefacts import shipped_folder, word_of
from prunelle.recipes.bench import bench, sentence, write_bench
from prunelle.recipes.fitting import calibration
from prunelle.recipes.measure_shipped import measure_shipped
from prunelle.recipes.ship import ship_model
from prunelle.recipes.shipping import Asked
from prunelle.ship import auto, native_runtime
from prunelle.ship.formats import Order
from prunelle.ship.native import build_native
from prunelle.ship.sizes import sizes_of

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
KEYS = {"name", "runtime", "median_ms", "p95_ms", "p99_ms", "ratio", "ratio_low", "ratio_high", "size_bytes"}


def rough(fns: list, **_: object) -> tuple[Timing, ...]:
    """The least of five calls each; with one function no ratio, as the real timer."""
    least = [min(timeit.repeat(fn, number=1, repeat=5)) * 1e3 for fn in fns]
    ratios = [None if len(fns) == 1 else least[0] / ms for ms in least]
    return tuple(Timing(ms, ms, ms, r, r, r, 5, 1) for ms, r in zip(least, ratios, strict=True))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (auto, room):
        monkeypatch.setattr(module, "time_interleaved", rough)
    monkeypatch.setattr(shipped_room, "time_callable", lambda fn, **_: rough([fn])[0])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net/: lenet5_small with random weights for digits. pt2/: the same, shipped."""
    folder = tmp_path_factory.mktemp("bench")
    builder = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)
    torch.manual_seed(0)
    save(builder.make(), folder / "net", builder=builder, preprocessing=load_task("digits").preprocessing)
    patch = pytest.MonkeyPatch()
    patch.setattr(auto, "time_interleaved", rough)
    ship_model(Asked(str(folder / "net"), "pt2", data="digits"), folder / "pt2")
    patch.undo()
    return folder


def test_models_and_shipped_files_side_by_side(root: Path) -> None:
    names = [f"{root}/net", f"{root}/pt2", f"{root}/pt2/model.pt2", "lenet_300_100@eager"]
    found = bench([word_of(name, trust=True) for name in names], trust=True)
    rows = found["artefacts"]
    assert [row["name"] for row in rows] == names and all(row.keys() >= KEYS for row in rows)
    assert [row["runtime"] for row in rows] == ["eager", "pt2", "pt2", "eager"]
    assert rows[0]["ratio"] == 1 and rows[1]["ratio"] == pytest.approx(rows[0]["median_ms"] / rows[1]["median_ms"])
    size = (root / "pt2" / "model.pt2").stat().st_size
    assert [row["size_bytes"] for row in rows[1:]] == [size, size, None]
    assert rows[0]["size_bytes"] == sum(path.stat().st_size for path in (root / "net").iterdir())
    assert found["images"] == "validation split of digits" and found["input_shape"] == [1, 8, 8]
    assert found.keys() >= {"environment", "batch", "threads"}
    json.dumps(found, allow_nan=False)


def test_a_model_as_native_is_as_large_as_its_library(root: Path, tmp_path: Path) -> None:
    build_native(open_model(f"{root}/net").model, torch.rand(1, 1, 8, 8), tmp_path)
    library = (tmp_path / "net.so").stat().st_size
    (row,) = bench([word_of(f"{root}/net@native")])["artefacts"]
    # Which kernel a layer gets is measured anew: the files may differ by a page.
    assert row["runtime"] == "native" and abs(row["size_bytes"] - library) <= 4096
    assert sizes_of(Order(open_model(f"{root}/net").model, torch.rand(1, 1, 8, 8), "fp32"), tmp_path, ("native",))[
        "native"
    ] == pytest.approx(row["size_bytes"], abs=4096)


def test_sixteen_bits_are_fitted_to_the_data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = word_of(f"{root}/net@native16")
    with pytest.raises(SettingError, match=r"net@native16: native16 is fitted to images; pass --data\.$"):
        bench([word])
    fitted: list[torch.Tensor] = []

    def watched(model: torch.nn.Module, images: torch.Tensor, threads: int) -> native_runtime.Native:
        fitted.append(images)
        return native16(model, images, threads)

    native16 = native_runtime.native16
    monkeypatch.setattr(native_runtime, "native16", watched)
    (row,) = bench([word], data="digits")["artefacts"]
    assert (row["runtime"], row["precision"]) == ("native16", "int16") and row["size_bytes"] > 1000
    assert torch.equal(fitted[0], calibration(load_task("digits"), 0)) and len(fitted[0]) == 512
    with pytest.raises(ModelError, match=r"takes images of \(1, 12, 12\) where the data's are \(1, 8, 8\)"):
        builder = Builder(spec="lenet5_small", input_shape=[1, 12, 12], num_classes=10)
        save(builder.make(), tmp_path / "other", builder=builder)
        bench([word_of(f"{tmp_path}/other@native16")], data="digits")


def test_one_alone_is_its_own_baseline_and_noise_is_said(root: Path) -> None:
    found = bench([word_of("lenet5_small")], batch=3)
    assert found["artefacts"][0]["ratio"] == found["artefacts"][0]["ratio_high"] == 1
    assert "noise" in found["images"] and (found["batch"], found["input_shape"]) == (3, [1, 28, 28])
    assert bench([word_of("lenet5_small")], input_shape=(3, 12, 12))["input_shape"] == [3, 12, 12]


def test_a_runtime_is_the_last_word_after_an_at_sign(root: Path, tmp_path: Path) -> None:
    word = word_of("lenet5@openvino")
    assert (word.path, word.runtime, word.shipped) == ("lenet5", "openvino", None)
    save(torch.nn.Linear(1, 1), tmp_path / "a@b")
    assert word_of(f"{tmp_path}/a@b").path == f"{tmp_path}/a@b"
    with pytest.raises(SettingError, match="there is no runtime 'eagr', did you mean 'eager'"):
        word_of("lenet5@eagr")
    with pytest.raises(ModelError, match="no model of this name"):
        word_of("lenet6@eager")
    with pytest.raises(ModelError, match="there is no such file"):
        word_of("nothing.onnx")
    with pytest.raises(SettingError, match="was shipped for pt2; leave @eager out"):
        bench([word_of(f"{root}/pt2@eager")], trust=True)


def test_code_needs_trust(root: Path) -> None:
    with pytest.raises(UntrustedCodeError, match="pt2: holds a pt2 file, which is code and would be run; pass --trust"):
        bench([word_of(f"{root}/pt2")])


def test_what_takes_other_images_is_refused(root: Path, tmp_path: Path) -> None:
    builder = Builder(spec="lenet5_small", input_shape=[1, 12, 12], num_classes=10)
    save(builder.make(), tmp_path / "other", builder=builder)
    with pytest.raises(ModelError, match=r"other: takes images of \(1, 12, 12\) where the others take \(1, 8, 8\)"):
        bench([word_of(f"{root}/net"), word_of(f"{tmp_path}/other")])


def test_a_bare_onnx_file_runs_on_the_images_it_is_given(tmp_path: Path) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    from prunelle.ship.onnx import to_onnx

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    (tmp_path / "net.onnx").write_bytes(to_onnx(net, torch.zeros(1, 1, 8, 8)))
    word = word_of(f"{tmp_path}/net.onnx")
    (row,) = bench([word], input_shape=(1, 8, 8))["artefacts"]
    assert (row["runtime"], row["size_bytes"]) == ("onnxruntime", (tmp_path / "net.onnx").stat().st_size)
    with pytest.raises(ModelError, match="nothing says what images it takes; pass --input C,H,W"):
        bench([word])
    with pytest.raises(ModelError, match=r"does not run on an image of \(1, 9, 9\)"):
        bench([word], input_shape=(1, 9, 9))


def test_the_picture(root: Path, tmp_path: Path) -> None:
    found = bench([word_of("lenet5_small"), word_of("lenet5_small")])
    files = write_bench(found, tmp_path / "a" / "b", "prunelle bench ...")
    assert [file.name for file in files] == ["bench.json", "bench.html"]
    assert read_sealed_json(files[0])["artefacts"] == found["artefacts"]
    assert "lenet5_small against lenet5_small" in files[1].read_text()
    slow, fast = ({"name": n, "median_ms": m, "ratio": r, "ratio_low": r, "ratio_high": r} for n, m, r in RATIOS)
    assert sentence({"artefacts": [slow, fast]}) == "b takes 1 ms a call, 2.00 times as fast as a (2.00 to 2.00)."
    assert sentence({"artefacts": [fast, slow]}) == "b takes 1 ms a call; nothing here is faster."


RATIOS = (("a", 2.0, 1.0), ("b", 1.0, 2.0))


def test_a_shipped_folder_is_measured_in_its_own_runtime(root: Path) -> None:
    card = measure_shipped(root / "pt2", data="digits", trust=True)
    assert card.num_test == 400 and card.top1 is not None and card.latency_ms is not None
    assert (card.latency_ms.runtime, card.latency_ms.ratio) == ("pt2", None)
    assert card.size_bytes == (root / "pt2" / "model.pt2").stat().st_size and card.params == card.nnz == 2_576
    with pytest.raises(SettingError, match=r"--runtime openvino: .*pt2 was shipped for pt2; leave it out"):
        measure_shipped(root / "pt2", runtime="openvino", trust=True)
    assert shipped_folder(f"{root}/pt2") == shipped_folder(f"{root}/pt2/model.pt2") == f"{root}/pt2"
    assert shipped_folder(f"{root}/net") is None


def test_damage_is_found_before_anything_runs(root: Path, tmp_path: Path) -> None:
    for name in ("ship.json", "model.pt2"):
        (tmp_path / name).write_bytes((root / "pt2" / name).read_bytes())
    (tmp_path / "model.pt2").write_bytes(b"rubbish")
    with pytest.raises(CorruptFileError, match="does not match its SHA-256"):
        bench([word_of(str(tmp_path))], trust=True)
