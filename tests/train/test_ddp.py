"""train/ddp.py: in one process by hand, and benchmarks/ddp.py with few steps on two ranks of gloo over loopback."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import conv_net

from prunelle.errors import SettingError
from prunelle.models.save import load
from prunelle.train.ddp import ALONE, Ranks, check_device, join

REPO = Path(__file__).parents[2]


def bench():
    spec = importlib.util.spec_from_file_location("ddp_bench", REPO / "benchmarks" / "ddp.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module


def test_shares_are_disjoint_and_whole():
    batch = torch.arange(7)
    shares = [Ranks(rank, 3).share(batch).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert ALONE.share(batch) is batch


def test_the_average_is_a_weighted_sum_over_ranks(monkeypatch):
    # the other rank's message: what it would send with its weight of 1/4
    other = torch.cat([torch.full((4,), 2.0), torch.tensor([8.0])]) * 0.25
    monkeypatch.setattr("torch.distributed.all_reduce", lambda flat: flat.add_(other))
    tensors = [torch.ones(2, 2), torch.tensor(4.0)]
    Ranks(0, 2).average_(tensors, 0.75)
    assert torch.equal(tensors[0], torch.full((2, 2), 0.75 + 0.5)) and tensors[1].item() == 3.0 + 2.0


def test_one_process_alone_sends_nothing():
    tensors = [torch.ones(2)]
    ALONE.average_(tensors, 0.5)
    ALONE.broadcast_(tensors)
    ALONE.barrier()
    assert torch.equal(tensors[0], torch.ones(2))
    assert join(torch.device("cpu")) == ALONE


def test_a_device_that_is_not_there_is_refused():
    check_device("cpu")
    with pytest.raises(SettingError, match=r"--device cuda:63: this machine has \d+ CUDA devices; pass cpu"):
        check_device("cuda:63")


def test_every_rank_drops_units_of_its_own(one_thread):
    from torch.nn.functional import cross_entropy

    from prunelle.train.losses import Plain
    from prunelle.train.optimizers import Sgd
    from prunelle.train.step import Update, loss_and_gradients

    class Silent(Ranks):
        def average_(self, tensors, weight): ...

    model = conv_net()
    batch = (torch.ones(4, 2, 6, 6) + torch.arange(4.0).view(4, 1, 1, 1) // 2, torch.zeros(4, dtype=torch.int64))
    losses = [
        loss_and_gradients(model, list(model.parameters()), batch, Update(Plain(cross_entropy), Sgd(), ranks=ranks), 7)[
            0
        ]
        for ranks in (Silent(0, 2), Silent(1, 2))
    ]
    assert losses[0] != losses[1]  # both shares hold the same images


def test_two_ranks_equal_one_process():
    verdict = bench().judge(steps=10)
    assert verdict["passed"], json.dumps(verdict, indent=2)
    assert len(verdict["cases"]) == 6


def test_the_comparison_can_fail():
    ddp = bench()
    alone = {"w": torch.zeros(2), "rows": torch.zeros(1, 2)}
    off = {"w": torch.full((2,), 1e-11), "rows": torch.zeros(1, 2)}
    last = {"ranks": 2, "batch_norm": None}
    assert ddp.judge_case("lenet5_small", alone, [alone, alone], last)["passed"]
    assert not ddp.judge_case("lenet5_small", alone, [off, off], last)["passed"]
    assert not ddp.judge_case("lenet5_small", alone, [alone, off], last)["passed"]


def test_the_command_under_torchrun(tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "prunelle", "train", "lenet_300_100"]
    command += ["--data", "digits", "--epochs", "1", "--threads", "1", "--out", str(out), "--json"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    code, told, complaint = started(command, environment, seconds=200)
    assert code == 0, complaint[-2000:]
    found = json.loads(told)  # one JSON: only rank 0 tells
    assert len(found["rows"]) == 1
    run = next((out / "runs").iterdir())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1] and rows[0]["ranks"] == 2
    assert load(out)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert "destroy_process_group" not in complaint


def started(command: list[str], environment: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command that starts others; all of them end with the test."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO, env=environment
    ) as process:
        try:
            told, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun passes it on to its ranks, which a kill would orphan
            raise
    return process.returncode, told, complaint
