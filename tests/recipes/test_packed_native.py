"""The format packed-native by the command line: a small file without code that runs as a native library."""

import json
import timeit
from pathlib import Path

import pytest
import torch

from prunelle.cli.main import answer
from prunelle.data.load import load_task
from prunelle.errors import CorruptFileError
from prunelle.measure.latency import Timing
from prunelle.models.open import open_model
from prunelle.models.save import Builder, save
from prunelle.recipes import bench
from prunelle.ship import auto
from prunelle.ship.formats import Run, check_precision, load_format
from prunelle.ship.native import Native
from prunelle.ship.shipped import Shipped, open_shipped

pytest.importorskip("sklearn", reason="needs prunelle[demo]")


def rough(fns: list, **_: object) -> tuple[Timing, ...]:
    """The least of five calls each."""
    least = [min(timeit.repeat(fn, number=1, repeat=5)) * 1e3 for fn in fns]
    return tuple(Timing(ms, ms, ms, least[0] / ms, least[0] / ms, least[0] / ms, 5, 1) for ms in least)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "time_interleaved", rough)
    monkeypatch.setattr(bench, "time_interleaved", rough)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lenet5_small with random weights of which nine tenths are zero, as if made on digits."""
    folder = tmp_path_factory.mktemp("saved") / "net"
    builder = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)
    torch.manual_seed(0)
    model = builder.make()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(torch.rand_like(weight) < 0.1).mul_(4)
    save(model, folder, builder=builder, preprocessing=load_task("digits").preprocessing)
    return folder


@pytest.fixture(scope="module")
def shipped(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the command line, without --trust."""
    out = tmp_path_factory.mktemp("shipped") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "time_interleaved", rough)
        words = ["ship", str(saved), "--format", "packed-native", "--data", "digits", "--threads", "1"]
        assert answer([*words, "--out", str(out), "--json"]) == 0
    return out


@pytest.fixture(scope="module")
def opened(shipped: Path) -> tuple[Run, Shipped]:
    """Without trust; this compiles."""
    return open_shipped(shipped)


def test_it_ships_one_small_file_and_says_what_runs_it(shipped: Path, opened: tuple[Run, Shipped]) -> None:
    assert sorted(path.name for path in shipped.iterdir()) == ["model.prn", "report.html", "ship.json"]
    found = opened[1]
    assert (found.format, found.precision, found.runtime) == ("packed-native", "fp32", "native")
    assert found.size_bytes == (shipped / "model.prn").stat().st_size < found.sizes_bytes["dense_safetensors"]
    assert found.parity is not None and found.parity.error <= 1e-4 and found.parity.num_images == 400


def test_it_opens_without_trust_and_computes_what_the_model_computes(saved: Path, opened: tuple[Run, Shipped]) -> None:
    run = opened[0]
    assert isinstance(run, Native)
    images = next(iter(load_task("digits").test.epoch(64)))[0]
    wanted = open_model(str(saved)).model(images).detach()
    for given in (run(images), torch.cat([run(one) for one in images.split(1)])):
        assert (given - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_the_same_file_is_a_model_for_every_other_command(saved: Path, shipped: Path) -> None:
    opened = open_model(str(shipped / "model.prn"))
    assert all(
        torch.equal(value, opened.model.state_dict()[name])
        for name, value in open_model(str(saved)).model.state_dict().items()
    )


def test_bench_runs_it_from_its_folder_without_trust(shipped: Path, saved: Path, capsys) -> None:
    code = answer(["bench", str(saved), str(shipped), "--data", "digits", "--threads", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    first, second = found["artefacts"]
    assert (first["runtime"], second["runtime"]) == ("eager", "native")
    assert second["size_bytes"] == (shipped / "model.prn").stat().st_size
    assert second["median_ms"] < first["median_ms"]  # by far: some 10 against some 200 microseconds


@pytest.mark.parametrize("place", [0, 40, -40, -1])
def test_a_damaged_file_is_refused_by_ship_json(shipped: Path, place: int) -> None:
    file = shipped / "model.prn"
    raw = file.read_bytes()
    try:
        file.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + (raw[place + 1 :] if place != -1 else b""))
        with pytest.raises(CorruptFileError, match=r"model\.prn: does not match its SHA-256 in ship\.json"):
            open_shipped(shipped)
        assert answer(["bench", str(shipped), "--data", "digits"]) == 2
    finally:
        file.write_bytes(raw)


def test_a_damaged_file_is_refused_before_it_is_compiled(shipped: Path, tmp_path: Path, monkeypatch) -> None:
    """Also where ship.json does not say so: a packed file carries its own hash."""
    raw = (shipped / "model.prn").read_bytes()

    def forbidden(*_args, **_more):
        raise AssertionError("a damaged file was compiled")

    monkeypatch.setattr("prunelle.ship.native_runtime.build_native", forbidden)
    for place in (10, len(raw) // 2, len(raw) - 1):
        (tmp_path / "model.prn").write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(CorruptFileError, match=r"model\.prn"):
            load_format("packed-native").open(tmp_path, "fp32", 1, False)


def test_no_file_and_two_files_are_refused(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="holds 0 packed files, must hold one; ship it anew"):
        load_format("packed-native").open(tmp_path, "fp32", 1, False)
    for name in ("model.prn", "model.two"):
        (tmp_path / name).write_bytes((shipped / "model.prn").read_bytes())
    with pytest.raises(CorruptFileError, match="holds 2 packed files"):
        load_format("packed-native").open(tmp_path, "fp32", 1, False)


def test_other_precisions_are_refused_with_the_format_that_has_them(saved: Path, tmp_path: Path, capsys) -> None:
    words = ["ship", str(saved), "--format", "packed-native", "--precision", "int16", "--out", str(tmp_path / "x")]
    assert answer(words) == 2
    assert "--format packed-native: comes in fp32, not in int16; take --format native" in " ".join(
        capsys.readouterr().err.split()
    )
    check_precision("packed-native", "fp32")
