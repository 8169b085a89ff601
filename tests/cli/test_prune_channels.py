"""prune --channels and inspect, from the line that is typed to what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from prunelle.cli.main import answer
from prunelle.models.save import load

Capture = pytest.CaptureFixture[str]
KEYS = {"ok", "params_before", "params_after", "macs_before", "macs_after", "max_rel_err", "seconds", "frozen"}
BAD = """
from torch import nn
def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
"""
RESIDUAL = """
from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
    def forward(self, x):
        return x + self.conv(x).relu()
def make():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
"""


def told(line: str, capsys: Capture, code: int = 0) -> Any:
    capsys.readouterr()
    found = answer([*line.split(), "--json"])
    out, err = capsys.readouterr()
    assert found == code, err
    return json.loads(out)


def test_the_contract(tmp_path: Path, capsys: Capture) -> None:
    line = f"prune lenet5 --channels .5 --score l1 --verify --threads 1 --out {tmp_path}/o"
    found = told(line, capsys)
    assert found.keys() >= KEYS and found["ok"] is True and found["max_rel_err"] <= 1e-10
    assert all(one.keys() == {"what", "why"} for one in found["frozen"])
    assert load(tmp_path / "o")(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert told(f"measure {tmp_path}/o", capsys)["params"] == found["params_after"]


def test_what_cannot_be_cut_ends_with_1_and_a_reason(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "net.py").write_text(BAD)
    line = f"prune {tmp_path}/net.py:flat --input 3,2,2 --trust --channels .5 --out {tmp_path}/o"
    assert answer([*line.split(), "--verify", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found.keys() >= KEYS and found["ok"] is False
    assert err.startswith("prunelle: Sequential: no channel can go") and err.count("\n") == 1
    assert answer(line.split()) == 1
    out, err = capsys.readouterr()
    assert out == "" and "no channel can go" in err
    assert not (tmp_path / "o").exists()


def test_tables_for_people(tmp_path: Path, capsys: Capture) -> None:
    assert answer(f"prune lenet5 --channels .5 --verify --threads 1 --out {tmp_path}/o".split()) == 0
    shown = capsys.readouterr().out
    assert "431,080" in shown and "3 of 3 sets cut" in shown and "left whole" in shown and "off by" in shown
    assert answer(f"inspect lenet5 --threads 1 --html {tmp_path}/page.html".split()) == 0
    shown = capsys.readouterr().out
    assert "conv1" in shown and "fc2" in shown and "3 of 4 layers can lose channels, in 3 sets" in shown
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert len(told("inspect lenet5 --threads 1", capsys)["sets"]) == 3


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    plan = told(f"prune lenet5 --channels .5 --out {tmp_path}/o --dry-run", capsys)
    assert plan.keys() >= {"plan", "minutes", "disk_bytes"} and plan["params_after"] < 431_080
    assert list(tmp_path.iterdir()) == []


SAID = {
    "--channels .5 --sparsity .5": "--sparsity and --channels: exclude each other; pass one of them.",
    "--channels .5 --blocks 2": "--channels and --blocks: exclude each other; pass one of them.",
    "": "prune: says not how much; pass one of --sparsity, --channels, --latency, --blocks.",
    "--blocks 2": "--blocks: judges each block by its worth on images, which needs --data; pass it.",
    "--blocks 2 --score l1 --data digits": "--score: does nothing with --blocks; leave it out.",
    "--blocks 0 --data digits": "--blocks is '0', must be how many or, in (0, 1), a share of the MACs; correct it.",
    "--blocks many --data digits": "--blocks is 'many', must be how many or, in (0, 1), a share of the MACs;",
    "--sparsity .5": "--sparsity: zeros weights while training, which needs --data; pass it.",
    "--sparsity .5 --floor 3 --data digits": "--floor: does nothing with --sparsity; leave it out.",
    "--sparsity .5 --verify --data digits": "--verify: does nothing with --sparsity; leave it out.",
    "--channels 1": "--channels is 1.0, must be below 1; correct it.",
    "--channels .5 --of flops": "--of is 'flops', must be one of 'channels', 'macs' or 'params'; leave it out for",
    "--channels .5 --score magnitude": "--score is 'magnitude', must be one of 'l2', 'l1', 'fpgm', 'bn_scale',",
    "--channels .5 --scope all": "--scope is 'all', must be one of 'set', 'layer', 'global' or 'cost'",
    "--channels .5 --floor 0": "--floor is 0, must be at least 1",
    "--channels .5 --multiple x": "--multiple is 'x', must be a whole number; see prunelle prune --help.",
    "--channels .5 --repair bn": "--repair bn: needs images; pass --data.",
    "--channels .5 --repair bn,bn": "repair names 'bn' twice; name each once.",
    "--channels .5 --repair fold": "--repair is 'fold', must be one of 'bn' or 'lsq'",
    "--channels .5 --score taylor": "--score taylor: needs images; pass --data, or take another score.",
    "--channels .5 --epochs 3": "--epochs: does nothing with --channels without --data; leave it out.",
    "--latency 3": "--latency is '3', must be a share of the dense time such as 0.6x or a time such as 3ms; correct",
    "--latency 1.2x": "--latency is 1.2, must be below 1; or leave it out.",
    "--latency .6x --runtime onnx": "'onnx', must be one of 'eager', 'compile', 'onnxruntime', 'openvino', 'native' or "
    "'native16'",
    "--latency .6x --of macs": "--of: does nothing with --latency; leave it out.",
    "--latency .6x --dry-run": "--dry-run: --latency has to cut and measure to know; leave one out.",
    "--latency .6x --verify --data digits": "--verify: with --data only what --channels cuts is held; leave out one of",
    "--channels .5 --batch 3": "--batch: does nothing with --channels; leave it out.",
    "--channels .5 --skip conv9": "channels: skip names 'conv9', the model has no module of this path.",
    "--channels .5 --device cuda": "--device cuda: without --data the cut is made on the CPU; leave it out.",
}


@pytest.mark.parametrize("options", SAID)
def test_what_is_refused(options: str, tmp_path: Path, capsys: Capture) -> None:
    assert answer(f"prune lenet5 --out {tmp_path}/o {options}".split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and SAID[options] in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_left_alone(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert answer(f"prune lenet5 --channels .5 --out {tmp_path}".split()) == 2
    assert "is not empty and holds no channels.json" in capsys.readouterr().err
    assert answer(f"inspect lenet5 --html {tmp_path}".split()) == 2
    assert "is a folder; name a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty samples a side: what is timed is not judged here."""
    from prunelle.recipes import cards

    timer = cards.time_interleaved
    monkeypatch.setattr(cards, "time_interleaved", lambda fns, **s: timer(fns, **(s | {"min_samples": 1})))


def test_with_data_accuracy_and_time_are_measured_and_the_cut_is_mended(
    tmp_path: Path, capsys: Capture, quick: None
) -> None:
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    pytest.importorskip("jinja2", reason="needs prunelle[report]")
    assert answer(f"train lenet_300_100 --data digits --epochs 3 --set lr=0.002 --out {tmp_path}/dense".split()) == 0
    line = f"prune {tmp_path}/dense --data digits --channels .5 --score fpgm --repair lsq --verify --out {tmp_path}/o"
    found = told(line, capsys)
    assert found.keys() >= KEYS | {"rows", "summary"} and found["ok"] is True
    dense, pruned = found["rows"]
    assert (dense["params"], pruned["params"]) == (50_610, 64 * 150 + 150 + 150 * 50 + 50 + 50 * 10 + 10)
    assert (found["params_before"], found["params_after"]) == (dense["params"], pruned["params"])
    assert pruned["top1"] > dense["top1"] - 0.1 and pruned["latency_ratio"] > 0
    assert told(f"measure {tmp_path}/o --data digits", capsys)["top1"] == pruned["top1"]
    again = told(line, capsys)
    assert again["rows"] == found["rows"]
    tuned = told(f"prune {tmp_path}/dense --data digits --channels .5 --epochs 1 --out {tmp_path}/tuned", capsys)
    assert "ok" not in tuned and tuned["rows"][1]["params"] == pruned["params"]


def test_what_cannot_be_cut_with_data_ends_with_1_too(tmp_path: Path, capsys: Capture, quick: None) -> None:
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    (tmp_path / "net.py").write_text(BAD.replace("12, 5", "64, 10"))
    line = f"prune {tmp_path}/net.py:flat --trust --data digits --channels .5 --verify --out {tmp_path}/o"
    found = told(line, capsys, code=1)
    assert found.keys() >= KEYS and found["ok"] is False and "no channel can go" in found["problems"][0]


def test_blocks(tmp_path: Path, capsys: Capture, quick: None) -> None:
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    pytest.importorskip("jinja2", reason="needs prunelle[report]")
    (tmp_path / "net.py").write_text(RESIDUAL)
    line = f"prune {tmp_path}/net.py:make --trust --data digits --blocks 1 --out {tmp_path}/o"
    dense, pruned = told(line, capsys)["rows"]
    assert dense["params"] - pruned["params"] == 8 * 8 * 9 + 8
    assert len(load(tmp_path / "o", trust=True).state_dict()) == 6
