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
    "": "prune: says not how much; pass one of --sparsity, --channels",
    "--sparsity .5": "--sparsity: zeros weights while training, which needs --data; pass it.",
    "--sparsity .5 --floor 3 --data digits": "--floor: does nothing with --sparsity; leave it out.",
    "--sparsity .5 --verify --data digits": "--verify: does nothing with --sparsity; leave it out.",
    "--channels 1": "--channels is 1.0, must be below 1; correct it.",
    "--channels .5 --of flops": "--of is 'flops', must be one of 'channels', 'macs' or 'params'; leave it out for",
    "--channels .5 --score magnitude": "--score is 'magnitude', must be one of 'l2', 'l1', 'fpgm', 'bn_scale',",
    "--channels .5 --scope all": "--scope is 'all', must be one of 'set', 'layer' or 'global'",
    "--channels .5 --floor 0": "--floor is 0, must be at least 1",
    "--channels .5 --multiple x": "--multiple is 'x', must be a whole number; see prunelle prune --help.",
    "--channels .5 --repair bn": "--repair bn: needs images; pass --data.",
    "--channels .5 --repair bn,bn": "repair names 'bn' twice; name each once.",
    "--channels .5 --repair fold": "--repair is 'fold', must be one of 'bn' or 'lsq'",
    "--channels .5 --score taylor": "--score taylor: needs images; pass --data, or take another score.",
    "--channels .5 --epochs 3": "--epochs: does nothing with --channels without --data; leave it out.",
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
