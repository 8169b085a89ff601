"""Do two ranks train what one process trains at the same global batch? On the CPU, over gloo and loopback.

python benchmarks/ddp.py [--steps 50]

In float64 the weights of LeNets must agree to 1e-12 after all steps, with even and with uneven shares of a batch. Batch
norm takes each rank's own share for its statistics, so such a net differs from one process; there both ranks must hold
the same weights, and rank 0's running statistics must be the ones kept. Prints JSON and exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.task import Batch, Preprocessing, Split, Task
from prunelle.models.load import build
from prunelle.runs import Run
from prunelle.train.ddp import join
from prunelle.train.loop import fit_
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.settings import TrainSettings

TOLERANCE = 1e-12
RANKS = 2
IMAGES = 65
SECONDS = 300


@dataclass(frozen=True)
class Case:
    """normed: has batch norm, so that ranks agree with each other and not with one process."""

    model: str
    shape: tuple[int, int, int]
    batch_size: int
    optimizer: Optimizer
    lr: float
    normed: bool = False
    average_epochs: float = 0.0


CASES = {
    "lenet5_small": Case("lenet5_small", (1, 28, 28), 16, Sgd(weight_decay=1e-4), 0.05),
    "lenet_300_100, shares of 8 and 7": Case("lenet_300_100", (1, 8, 8), 15, Adam(), 1e-3),
    "lenet_300_100, one batch, shares of 33 and 32": Case("lenet_300_100", (1, 8, 8), 100, Sgd(), 0.05),
    "lenet5_small, averaged": Case("lenet5_small", (1, 28, 28), 16, Sgd(), 0.05, average_epochs=0.5),
    "resnet20": Case("resnet20", (3, 8, 8), 16, Sgd(), 0.05, normed=True),
    "resnet20, averaged": Case("resnet20", (3, 8, 8), 16, Sgd(), 0.05, normed=True, average_epochs=2.0),
}


@dataclass(frozen=True, eq=False)
class InFloat64(Split):
    """A split whose inputs are float64."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def epoch(self, batch_size: int, **settings) -> Iterator[Batch]:
        return ((inputs.double(), targets) for inputs, targets in self.split.epoch(batch_size, **settings))

    def to(self, device: str | torch.device) -> InFloat64:
        return InFloat64(self.split.to(device))


def random_task(shape: tuple[int, int, int]) -> Task:
    rng = np.random.default_rng(0)

    def part() -> Arrays:
        images = rng.integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
        return Arrays(images, rng.integers(0, 10, IMAGES))

    scaling = Preprocessing((0.5,) * shape[0], (0.3,) * shape[0])
    task = ArraySet("random", part(), part(), part(), scaling, tuple("0123456789")).task()
    return replace(task, train=InFloat64(task.train), val=InFloat64(task.val), test=InFloat64(task.test))


def train(name: str, steps: int, folder: Path) -> dict[str, Tensor]:
    """Train a case on this rank of however many; all weights and buffers, and what the rows say, by name.

    rows: only of use on rank 0, which writes them.
    """
    torch.set_num_threads(1)
    case = CASES[name]
    torch.manual_seed(0)
    model = build(case.model, input_shape=case.shape).double()
    per_epoch = max(1, IMAGES // case.batch_size)
    epochs = math.ceil(steps / per_epoch)
    settings = TrainSettings(epochs, case.lr, case.batch_size, case.optimizer, average_epochs=case.average_epochs)
    run = Run.open(folder / "run", {"case": name}, 0)
    fit_(model, random_task(case.shape), settings, run, "train")
    figures = [[row["train_loss"], row["val_loss"]] for row in run.rows()]
    return {**model.state_dict(), "rows": torch.tensor(figures, dtype=torch.float64)}


def train_on_ranks(steps: int, folder: Path) -> dict[str, list[dict[str, Tensor]]]:
    """All cases in RANKS processes, started as torchrun would; what each rank ends with, by case."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, __file__, "--steps", str(steps), "--folder", str(folder)]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(RANKS)
    ]
    try:
        codes = [rank.wait(SECONDS) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    if any(codes):
        raise SystemExit(f"ranks ended with {codes}")
    return {name: [load_file(path_of(folder, name, rank)) for rank in range(RANKS)] for name in CASES}


def path_of(folder: Path, name: str, rank: int) -> Path:
    return folder / f"{list(CASES).index(name)}-rank{rank}.safetensors"


def be_a_rank(steps: int, folder: Path) -> None:
    """What each of the processes does."""
    for name in CASES:
        found = train(name, steps, folder)
        save_file(found, path_of(folder, name, join(torch.device("cpu")).rank))
    dist.destroy_process_group()


def judge_case(name: str, alone: dict[str, Tensor], ranks: list[dict[str, Tensor]], last: dict) -> dict:
    """The largest differences from one process and between the ranks. last: the last row that rank 0 wrote."""
    running = [key for key in alone if "running_" in key]
    weights = [key for key in alone if key not in running and "num_batches" not in key and key != "rows"]
    normed = CASES[name].normed
    off = largest(alone, ranks[0], [*weights, "rows"])
    between = largest(ranks[0], ranks[1], [*weights, *running])
    told = last["ranks"] == RANKS and bool(last["batch_norm"]) == normed
    passed = between == 0 and told and (normed or off <= TOLERANCE)
    return {"from_one_process": off, "between_ranks": between, "normed": normed, "passed": passed}


def largest(first: dict[str, Tensor], second: dict[str, Tensor], names: list[str]) -> float:
    return max((float((first[name] - second[name]).abs().max()) for name in names), default=0.0)


def judge(steps: int) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ranks = train_on_ranks(steps, folder)
        cases = {}
        for case in CASES:
            alone = train(case, steps, folder / "alone")
            last = Run.open(folder / "run", {"case": case}, 0).rows()[-1]
            cases[case] = judge_case(case, alone, ranks[case], last)
    return {"steps": steps, "cases": cases, "passed": all(case["passed"] for case in cases.values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="for the ranks: where to write what came out")
    asked = parser.parse_args()
    if asked.folder:
        be_a_rank(asked.steps, asked.folder)
        return 0
    verdict = judge(asked.steps)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "ranks": RANKS, "threads": 1}
    print(json.dumps(verdict, indent=2))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
