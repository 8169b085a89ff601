"""Each verb of the contract from end to end, on digits, with an epoch or two."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from prunelle.cli.main import answer
from prunelle.models.load import build
from prunelle.models.save import load
from prunelle.recipes.names import recipe_of

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytest.importorskip("jinja2", reason="needs prunelle[report]")
CARD_KEYS = {"model", "params", "nnz", "sparsity", "macs", "macs_nonzero", "size_bytes", "top1", "num_test"}
CARD_KEYS |= {"latency_ms", "environment", "schema_version"}
LATENCY_KEYS = {"median", "p95", "p99", "ratio_low", "ratio_high", "num_samples", "batch", "threads", "runtime"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty samples a side: what is timed is not judged here."""
    from prunelle.recipes import bench, cards, compare, measure
    from prunelle.ship import auto

    for module in (auto, bench, cards, compare, measure):
        timer = module.time_interleaved
        monkeypatch.setattr(
            module, "time_interleaved", lambda fns, timer=timer, **s: timer(fns, **(s | {"min_samples": 1}))
        )


def told(line: str, capsys: Capture, code: int = 0) -> Any:
    """What a line with --json prints on stdout, all of which must be JSON."""
    capsys.readouterr()
    found = answer([*line.split(), "--json"])
    out, err = capsys.readouterr()
    assert found == code, err
    return json.loads(out)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained/ (lenet_300_100, 4 epochs) and pruned/ (50 % of it at zero, in one shot)."""
    made = tmp_path_factory.mktemp("verbs")
    train = f"train lenet_300_100 --data digits --epochs 4 --set lr=0.002 --out {made}/trained"
    prune = f"prune {made}/trained --data digits --sparsity 0.5 --epochs 0 --out {made}/pruned"
    assert answer(train.split()) == 0 and answer(prune.split()) == 0
    return made


def test_quickstart(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunelle.recipes import quickstart

    recipe = recipe_of("quickstart", {"seeds": 2, "epochs": 2})
    monkeypatch.setattr(quickstart, "quickstart", lambda: recipe)
    found = told(f"quickstart --out {tmp_path}/q --workers 1", capsys)
    assert (tmp_path / "q" / "report.html").read_text().startswith("<!")
    cards = json.loads((tmp_path / "q" / "cards.json").read_text())
    assert len(cards) == 4 == len(found["rows"])
    assert all(card.keys() >= CARD_KEYS and card["latency_ms"].keys() >= LATENCY_KEYS for card in cards)
    assert {card["sparsity"] > 0.8 for card in cards} == {True, False}
    assert load(tmp_path / "q")(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert {Path(file["path"]).name for file in found["files"]} >= {"report.html", "model.json", "model.safetensors"}
    assert "95 % interval" in found["summary"]


def test_measure_a_name(capsys: Capture) -> None:
    card = told("measure lenet_300_100", capsys)
    assert card.keys() >= CARD_KEYS and card["latency_ms"].keys() >= LATENCY_KEYS
    assert (card["params"], card["macs"], card["macs_nonzero"]) == (266_610, 266_200, 266_200)
    for key in ("size_bytes", "top1", "num_test", "throughput", "peak_memory_bytes"):
        assert card[key] is None
    assert card["latency_ms"]["ratio"] is None and card["latency_ms"]["runtime"] == "eager"


def test_measure_a_folder(root: Path, capsys: Capture) -> None:
    card = told(f"measure {root}/pruned --data digits --batch 3 --threads 2", capsys)
    size = sum((root / "pruned" / name).stat().st_size for name in ("model.json", "model.safetensors"))
    assert card["size_bytes"] == size and card["num_test"] == 400 and 0.5 < card["top1"] <= 1
    assert 0.49 < card["sparsity"] < 0.51 and card["macs_nonzero"] < card["macs"] == 50_200
    assert (card["latency_ms"]["batch"], card["latency_ms"]["threads"]) == (3, 2)


def test_measure_another_input_and_a_table_for_people(capsys: Capture) -> None:
    assert told("measure resnet20 --input 3,16,16", capsys)["macs"] < 40_810_000
    assert answer(["measure", "lenet5_small"]) == 0
    assert "29,456" in capsys.readouterr().out


def test_measure_a_runtime(capsys: Capture) -> None:
    pytest.importorskip("onnxruntime", reason="needs prunelle[onnx]")
    pytest.importorskip("onnxscript", reason="needs prunelle[onnx]")
    latency = told("measure lenet5_small --runtime onnxruntime", capsys)["latency_ms"]
    assert latency["runtime"] == "onnxruntime" and latency["ratio_low"] <= latency["ratio"] <= latency["ratio_high"]


def test_measure_everything(root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunelle.measure.throughput import Throughput
    from prunelle.recipes import measure

    monkeypatch.setattr(
        measure, "best_throughput", lambda at, **_: at(2)() is None or Throughput(9.0, 2, 30, 1, "gain")
    )
    monkeypatch.setattr(measure, "peak_memory_of_folder", lambda *_: 7)
    card = told(f"measure {root}/trained --full", capsys)
    assert card["throughput"] == {"images_per_second": 9.0, "batch": 2} and card["peak_memory_bytes"] == 7
    sizes = card["sizes_bytes"]
    assert sizes["saved"] == card["size_bytes"] and sizes["packed"] < sizes["dense_safetensors"] < sizes["saved"]
    assert sizes["native"] is None or sizes["native"] > 4 * 50_000


def test_models_of_every_kind(root: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make(input_shape=(1, 8, 8), num_classes=10):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], num_classes))\n"
    )
    spec = f"{tmp_path}/net.py:make"
    assert told(f"measure {spec} --input 1,8,8 --trust", capsys)["params"] == 650
    told(f"train {spec} --data digits --epochs 1 --trust --out {tmp_path}/own", capsys)
    assert told(f"measure {tmp_path}/own --data digits --trust", capsys)["num_test"] == 400
    assert answer(f"measure {tmp_path}/own".split()) == 2
    assert "--trust" in capsys.readouterr().err
    compared = told(f"compare {root}/trained {spec} --data digits --trust --max-drop 100", capsys)
    assert compared["size_bytes_after"] is None


def test_a_model_of_timm(tmp_path: Path, capsys: Capture) -> None:
    if find_spec("timm") is None:
        pytest.skip("needs prunelle[vision]")
    assert told("measure timm:test_resnet", capsys)["macs"] > 0
    assert told("measure timm:test_resnet --data digits", capsys)["num_test"] == 400


@pytest.mark.parametrize("score", ["magnitude", "random", "magnitude_times_gradient"])
@pytest.mark.parametrize("scope", ["global", "layer", "cost"])
def test_prune(score: str, scope: str, root: Path, tmp_path: Path, capsys: Capture) -> None:
    epochs = 1 if scope == "layer" else 0
    line = f"prune {root}/trained --data digits --sparsity 0.75 --score {score} --scope {scope} --epochs {epochs}"
    dense, pruned = told(f"{line} --out {tmp_path}/p", capsys)["rows"]
    assert (dense["variant"], pruned["variant"], pruned["dense_id"]) == ("dense", "pruned", dense["id"])
    zeros = dense["nnz"] - pruned["nnz"]
    assert abs(zeros - 0.75 * 50_200) <= 2 and dense["nnz"] == 50_610
    assert pruned["size_bytes"] < 0.45 * dense["size_bytes"]
    weights = [p for p in load(tmp_path / "p").parameters() if p.ndim > 1]
    shares = [float((w == 0).float().mean()) for w in weights]
    assert (max(shares) - min(shares) < 0.01) == (scope == "layer" or score == "random")


def test_run_a_recipe_by_name_and_from_a_file(tmp_path: Path, capsys: Capture) -> None:
    line = f"run quickstart --set seeds=1 --set epochs=1 --set sparsity=0.5 --workers 1 --out {tmp_path}"
    found = told(f"{line}/a", capsys)
    assert [row["variant"] for row in found["rows"]] == ["dense", "pruned"]
    claim = json.loads((tmp_path / "a" / "recipe.json").read_text())["recipe"]
    (tmp_path / "mine.json").write_text(json.dumps(claim))
    again = told(f"run {tmp_path}/mine.json --workers 1 --out {tmp_path}/b", capsys)
    same = ("id", "seed", "params", "nnz", "macs", "top1", "loss")
    assert [[row[key] for key in same] for row in again["rows"]] == [[row[k] for k in same] for row in found["rows"]]


def test_report(root: Path, capsys: Capture) -> None:
    page = root / "pruned" / "report.html"
    page.unlink()
    found = told(f"report {root}/pruned", capsys)
    assert page.is_file() and len(found["rows"]) == 2
    assert json.loads((root / "pruned" / "rows.json").read_text()) == found["rows"]


def test_compare_judges_by_what_was_lost(root: Path, capsys: Capture) -> None:
    lost = told(f"compare {root}/trained {root}/pruned --max-drop 100", capsys)
    assert lost["data"] == "digits" and lost["num_test"] == 400
    assert lost["drop_points"] == pytest.approx(100 * (lost["top1_before"] - lost["top1_after"]))
    assert lost["lost"] - lost["gained"] == round(4 * lost["drop_points"])
    assert lost["size_bytes_after"] < lost["size_bytes_before"]
    told(f"compare {root}/trained {root}/trained --max-drop 0", capsys)
    told(f"compare {root}/trained lenet_300_100 --max-drop 10", capsys, code=1)
    assert answer(f"compare {root}/trained lenet_300_100".split()) == 1
    assert "0.5 are allowed" in capsys.readouterr().err
    told(f"compare lenet_300_100 {root}/trained --data digits --max-drop 0", capsys)


def test_ship_and_bench_what_was_shipped(root: Path, tmp_path: Path, capsys: Capture) -> None:
    line = f"ship {root}/trained --format pt2 --out {tmp_path}/s"
    found = told(line, capsys)
    assert (found["format"], found["data"], found["parity"]["num_images"]) == ("pt2", "digits", 400)
    assert {Path(file["path"]).name for file in found["files"]} == {"model.pt2", "ship.json", "report.html"}
    assert answer(line.split()) == 0
    assert "100.00 % of 400 predictions equal" in capsys.readouterr().out
    row = told(f"bench {root}/trained {tmp_path}/s --trust --out {tmp_path}/b", capsys)["artefacts"][1]
    assert row["name"] == f"{tmp_path}/s" and row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert (tmp_path / "b" / "bench.html").is_file()
    (tmp_path / "full" / "bench.json").mkdir(parents=True)
    found = told(f"bench {root}/trained --out {tmp_path}/full", capsys, 1)  # what took long is told, whatever the disk
    assert found["artefacts"][0]["median_ms"] > 0
    assert answer(f"bench {root}/trained {tmp_path}/s".split()) == 2
    assert "pass --trust" in capsys.readouterr().err
    assert told(f"measure {tmp_path}/s --data digits --trust", capsys)["num_test"] == 400
    assert told(f"{line}2 --dry-run", capsys)["minutes"] > 0 and not (tmp_path / "s2").exists()


def test_doctor(capsys: Capture) -> None:
    found = told("doctor", capsys)
    assert found["environment"]["num_cores"] >= 1 and found["data"]["digits"] is True
    extras = "demo report vision onnx openvino compiler ray spark"
    assert set(found["extras_missing"]) == set(extras.split())
    assert answer(["doctor"]) == 0
    assert "digits" in capsys.readouterr().out


def test_a_second_start_does_nothing_and_other_settings_are_refused(root: Path, capsys: Capture) -> None:
    runs = sorted((root / "trained" / "runs").rglob("*"))
    before = {path: path.stat().st_mtime_ns for path in runs if path.is_file()}
    line = f"train lenet_300_100 --data digits --epochs 4 --set lr=0.002 --out {root}/trained"
    told(line, capsys)
    assert {path: path.stat().st_mtime_ns for path in runs if path.is_file()} == before
    assert answer(line.replace("--epochs 4", "--epochs 3").split()) == 2
    assert answer(f"prune {root}/trained --data digits --sparsity 0.6 --out {root}/pruned".split()) == 2
    assert "another recipe" in capsys.readouterr().err


def test_the_seed_decides(tmp_path: Path, capsys: Capture) -> None:
    line = f"train lenet5_small --data digits --epochs 1 --threads 1 --out {tmp_path}"
    first, same, other = (
        told(f"{line}/{name} --seed {seed}", capsys)["rows"][0] for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first["loss"] == same["loss"] != other["loss"]
    a, b, c = (load(tmp_path / name).state_dict() for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a) and not torch.equal(a["conv1.weight"], c["conv1.weight"])


def test_weights_of_both_kinds(tmp_path: Path, capsys: Capture) -> None:
    torch.manual_seed(0)
    trained = build("lenet_300_100", input_shape=(1, 8, 8)).state_dict()
    save_file(trained, tmp_path / "w.safetensors")
    torch.save({"state_dict": trained}, tmp_path / "w.pth")
    line = "prune lenet_300_100 --data digits --sparsity 0 --epochs 0"
    for ending in ("safetensors", "pth"):
        told(f"{line} --weights {tmp_path}/w.{ending} --out {tmp_path}/{ending}", capsys)
        found = load(tmp_path / ending).state_dict()
        assert all(torch.equal(found[key], trained[key]) for key in trained)
    card = told(f"measure lenet_300_100 --weights {tmp_path}/w.pth --data digits", capsys)
    assert card["top1"] == told(f"measure {tmp_path}/pth --data digits", capsys)["top1"]


@pytest.mark.parametrize(
    "line",
    [
        "quickstart",
        "train lenet5_small --data digits --epochs 3",
        "prune lenet5_small --data digits --sparsity 0.5 --epochs 2",
        "run quickstart --set seeds=2",
    ],
)
def test_a_dry_run_plans_and_writes_nothing(line: str, tmp_path: Path, capsys: Capture) -> None:
    plan = told(f"{line} --out {tmp_path}/o --dry-run", capsys)
    assert plan["num_runs"] >= 1 and plan["minutes"] > 0 and plan["disk_bytes"] > 0
    assert list(tmp_path.iterdir()) == []
    assert told("measure lenet5 --dry-run", capsys).keys() >= {"plan", "minutes", "disk_bytes"}


def test_an_error_of_ours_says_so_and_shows_its_place_when_asked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunelle.recipes import measure

    def breaks(*_: object, **__: object) -> None:
        raise KeyError("a\nb")

    monkeypatch.setattr(measure, "count", breaks)
    assert answer(["measure", "lenet5"]) == 1
    assert "unexpected KeyError" in (said := capsys.readouterr().err) and said.count("\n") == 1
    monkeypatch.setenv("PRUNELLE_DEBUG", "1")
    with pytest.raises(KeyError):
        answer(["measure", "lenet5"])


def test_a_full_disk_behind_stdout_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "prunelle", "measure", "lenet5", "--dry-run"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.startswith("prunelle: the output: No space left"), done.stderr


def test_python_m_prunelle_spawns_workers(tmp_path: Path) -> None:
    line = f"run quickstart --set seeds=2 --set epochs=1 --workers 2 --out {tmp_path}/o --json"
    done = subprocess.run([sys.executable, "-m", "prunelle", *line.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 4 and done.stderr == ""


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prunelle.cli.run.carry_out", interrupted)
    assert answer(["run", "quickstart", "--out", "o"]) == 130
    assert capsys.readouterr().err == "prunelle: interrupted; start the same command again to go on.\n"
