"""Bar 5: how small does a file get, decoder's tables counted, that loses nothing?

python benchmarks/packed.py [--models lenet_300_100 lenet5 resnet20] [--seeds 5] [--data-dir DIR] [--out DIR]
python benchmarks/packed.py --models lenet_300_100 lenet5 --from DIR     # what `prunelle run han2015 --out DIR` made

The LeNets train on MNIST from scratch, the dense network of each seed first; then global magnitude pruning while it
trains on with a teacher (lenet5: the dense network, lenet_300_100: the mean of all seeds' dense networks), k-means
weight sharing, the shared values trained on, packed. resnet20 starts from DIR/cifar10_resnet20.safetensors (--weights
DIR), trained on all of CIFAR-10's training images: so settings were chosen on the first 5,000 test images (--choosing)
and top1 is told on the other 5,000, on all 10,000 beside. Choices for the LeNets were made on val (--choosing); test is
read from the packed file, once. One thread.
--from DIR takes each seed's dense and pruned LeNets (92 % zeros) from that recipe instead of training them here.
Sizes: os.stat of the packed file against 4 bytes a parameter. --out keeps what was made; a second start goes on there.
Bars: lenet_300_100 >= 60x and lenet5 >= 50x smaller, mean test error of the seeds at most 0.05 points above the dense
mean; resnet20 >= 12x within 0.5 points.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import torch
from quality import HALF, SmallBatches
from torch import nn

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Split, Task
from prunelle.files import read_sealed_json
from prunelle.measure.accuracy import evaluate
from prunelle.measure.params import count_params
from prunelle.models.open import OpenedModel, open_model
from prunelle.models.save import is_saved, save
from prunelle.prune.weights import PruneGradually
from prunelle.quantize.halves import RoundToHalf
from prunelle.quantize.sharing import ShareWeights
from prunelle.runs import Run
from prunelle.ship.packed import pack_saved
from prunelle.steps import Step
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.precision import BF16, FP32, Precision
from prunelle.train.settings import Teacher, TrainSettings
from prunelle.train.stage import Train

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How one network becomes small. dense: None where it comes trained. values, biases: how many are shared.

    smaller, points: the bars. teachers: whose outputs are imitated: the "own" dense network's, or the mean of "all"
    seeds'.
    """

    data: str
    smaller: float
    points: float
    dense: TrainSettings | None
    sparsity: float
    epochs: int
    lr: float
    optimizer: Optimizer
    values: int
    biases: int | None
    share_epochs: int
    share_lr: float
    teachers: str = "own"
    teacher_weight: float = 0.9
    end: float = 0.5
    precision: Precision = FP32

    def steps(self, imitated: nn.Module) -> dict[str, Step]:
        """By the name of the folder that their result is saved in, in order."""
        teacher = Teacher(imitated, 4.0, self.teacher_weight)
        pruning = TrainSettings(
            self.epochs, self.lr, optimizer=self.optimizer, teacher=teacher, precision=self.precision
        )
        sharing = TrainSettings(
            self.share_epochs, self.share_lr, optimizer=Adam(), teacher=teacher, precision=self.precision
        )
        return {
            "pruned": PruneGradually(self.sparsity, pruning, end=self.end, frequency=100),
            "shared": ShareWeights(self.values, sharing, self.biases),
            "small": RoundToHalf(),
        }


class Mean(nn.Module):
    """The mean of what several networks give."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([network(images) for network in self.networks]).mean(0)


PLANS = {
    "lenet_300_100": Plan(
        "mnist",
        smaller=60,
        points=0.05,
        dense=TrainSettings(20, 0.1, optimizer=Sgd(0.9, 5e-4)),
        sparsity=0.94,
        epochs=30,
        teachers="all",
        lr=0.1,
        optimizer=Sgd(0.9, 5e-4),
        values=8,
        biases=8,
        share_epochs=3,
        share_lr=3e-4,
    ),
    "lenet5": Plan(
        "mnist",
        smaller=50,
        points=0.05,
        dense=TrainSettings(10, 1e-3, optimizer=Adam()),
        sparsity=0.95,
        epochs=8,
        lr=1e-3,
        optimizer=Adam(),
        values=8,
        biases=8,
        share_epochs=1,
        share_lr=3e-4,
    ),
    "resnet20": Plan(
        "cifar10",
        smaller=12,
        points=0.5,
        dense=None,
        sparsity=0.65,
        epochs=4,
        lr=0.02,
        optimizer=Sgd(0.9, 1e-4),
        values=16,
        biases=None,
        share_epochs=1,
        share_lr=1e-4,
        precision=BF16,
    ),
}


def make(name: str, seed: int, task: Task, opened: dict[int, OpenedModel], asked: argparse.Namespace) -> Row:
    """One seed: everything that is not there yet is made; a row of what the packed file is. opened: the dense networks
    by seed."""
    plan, place, dense = PLANS[name], asked.out / name / f"seed{seed}", opened[seed]
    run = Run.open(place / "runs", {"benchmark": "packed"}, seed)
    started = perf_counter()
    found = dense
    imitated = dense.model if plan.teachers == "own" else Mean([one.model for one in opened.values()])
    for folder, step in plan.steps(imitated).items():
        if not is_saved(place / folder):
            put(step(found.model, task, run), dense, task, place / folder)
        found = open_model(str(place / folder))
    file = place / f"{name}.prn"
    size = pack_saved(place / "small", file)
    minutes = (perf_counter() - started) / 60
    started = perf_counter()
    packed = open_model(str(file)).model
    seconds = perf_counter() - started
    params = count_params(packed)
    assert file.stat().st_size == size and same(packed, found.model)
    row: Row = {"model": name, "seed": seed, "size_bytes": size, "smaller": params.params * 4 / size}
    row |= {"kept": 1 - params.prunable_sparsity, "decode_seconds": seconds, "minutes": minutes}
    for where, split in parts(name, task, asked.choosing).items():
        for what, model in (("dense", dense.model), ("packed", packed)):
            told = evaluate(model, split, task.loss, task.metric)
            row[f"{what}_error_{where}"] = 100 * (1 - told.top1)
    print(row, file=sys.stderr, flush=True)
    return row


def dense_of(name: str, seed: int, task: Task, asked: argparse.Namespace) -> OpenedModel:
    """The network before pruning, from its folder, made where it is not there yet."""
    plan, place = PLANS[name], asked.out / name / f"seed{seed}"
    if not is_saved(place / "dense"):
        weights = None if plan.dense else asked.weights / f"cifar10_{name}.safetensors"
        fresh = open_model(name, weights=weights, seed=seed)
        model = fresh.model
        if plan.dense:
            run = Run.open(place / "runs", {"benchmark": "packed"}, seed)
            model = Train(plan.dense, "dense")(model, task, run)
        put(model, fresh, task, place / "dense")
    return open_model(str(place / "dense"))


def adopt(runs: Path, out: Path) -> None:
    """The dense and the pruned networks of `prunelle run han2015`, each to where this benchmark would have made it."""
    found = {folder.parent.name: read_sealed_json(folder) for folder in runs.glob("runs/*/settings.json")}
    for name, settings in found.items():
        pruned = "stages" in settings
        about = settings["dense"] if pruned else settings
        if settings["seed"] == about["seed"]:
            place = out / about["model"] / f"seed{settings['seed']}" / ("pruned" if pruned else "dense")
            if not is_saved(place):
                shutil.copytree(runs / "runs" / name / "model", place)


def put(model: nn.Module, like: OpenedModel, task: Task, folder: Path) -> None:
    save(model, folder, builder=like.builder, preprocessing=task.preprocessing, class_names=task.class_names)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether every bit is."""
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def parts(name: str, task: Task, choosing: bool) -> dict[str, Split]:
    """What is judged on. Test is read only when nothing is left to choose."""
    if PLANS[name].dense:
        return {"val": task.val} if choosing else {"val": task.val, "test": task.test}
    assert isinstance(task.test, ArraySplit)
    if choosing:
        return {"test": SmallBatches(task.test, slice(0, HALF))}
    return {"test": SmallBatches(task.test, slice(HALF, None)), "all": SmallBatches(task.test, slice(0, None))}


def summary(name: str, rows: list[Row], choosing: bool) -> Row:
    """Means of errors, the median of sizes and the bar."""
    plan = PLANS[name]
    where = "val" if choosing and plan.dense else "test"
    dense, packed = (mean(row[f"{what}_error_{where}"] for row in rows) for what in ("dense", "packed"))
    least = min(row["smaller"] for row in rows)
    return {
        "model": name,
        "seeds": len(rows),
        "where": where,
        "dense_error_mean": round(dense, 3),
        "packed_error_mean": round(packed, 3),
        "lost_points": round(packed - dense, 3),
        "size_bytes": [row["size_bytes"] for row in rows],
        "size_bytes_median": median(row["size_bytes"] for row in rows),
        "smaller_median": round(median(row["smaller"] for row in rows), 1),
        "smaller_least": round(least, 1),
        "decode_seconds_median": round(median(row["decode_seconds"] for row in rows), 2),
        "bar": f">= {plan.smaller:g}x, at most {plan.points} points lost",
        "met": least >= plan.smaller and packed - dense <= plan.points,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--models", nargs="+", default=list(PLANS), choices=list(PLANS))
    parser.add_argument("--seeds", type=int, default=5, help="of the LeNets; resnet20 comes trained and gets one")
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--from", dest="adopted", type=Path, metavar="DIR")
    parser.add_argument("--choosing", action="store_true", help="judge on what choices are made on")
    asked = parser.parse_args()
    asked.out = asked.out or Path(tempfile.mkdtemp())
    torch.set_num_threads(1)
    if asked.adopted:
        adopt(asked.adopted, asked.out)
    found = []
    for name in asked.models:
        plan = PLANS[name]
        task = load_task(plan.data, data_dir=asked.data_dir)
        seeds = range(asked.seeds if plan.dense else 1)
        dense = {seed: dense_of(name, seed, task, asked) for seed in seeds}
        rows = [make(name, seed, task, dense, asked) for seed in seeds]
        found.append(summary(name, rows, asked.choosing) | {"rows": rows})
    environment = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    print(json.dumps({"models": found, "environment": environment}, indent=1))
    return 0 if all(one["met"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
