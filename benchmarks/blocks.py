"""What does each residual block and each residual link of a trained ResNet cost and bring?

python benchmarks/blocks.py [--models resnet20 resnet44] [--weights DIR] [--data-dir DIR] [--out DIR] [--epochs 1]

Needs CIFAR-10 and DIR/cifar10_MODEL.safetensors, networks that were trained on all of CIFAR-10's training images: so
choices are made on the first 5,000 test images and top1 is told on the other 5,000. One thread.
1. Every block and every link removed alone: top1 as cut, top1 with batch norm estimated anew, speed in ONNX Runtime.
2. Blocks taken one by one until 25 % and 50 % of the multiply-adds are gone: the same, and top1 after fine-tuning.
Ratios are against the dense network, in turns with it. Writes blocks.json, singles.csv and removed.csv into --out and
prints tables. Bars, for resnet44 with 50 % fewer multiply-adds: ONNX Runtime >= 1.5x at batch 64, >= 1.3x at batch 1.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from quality import HALF, SmallBatches
from torch import Tensor, nn

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.graph.cuts import Cuts
from prunelle.graph.residuals import find_residuals
from prunelle.measure.accuracy import Evaluation, evaluate
from prunelle.measure.latency import time_interleaved
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params
from prunelle.models.load import build
from prunelle.models.weights import fit_weights_, read_weights
from prunelle.prune.blocks import Plan, Trial, choose_blocks, cuts_of, without
from prunelle.prune.repair import reestimate_batch_norm
from prunelle.runs import Run
from prunelle.seeds import generator
from prunelle.ship.runtimes import load_runtime
from prunelle.train.loop import fit_
from prunelle.train.optimizers import Sgd
from prunelle.train.settings import TrainSettings

SHARES = (0.25, 0.5)
BATCHES = (1, 64)
REPAIR_BATCHES, REPAIR_BATCH = 8, 128
BARS = {64: 1.5, 1: 1.3}
Row = dict[str, Any]


class Study:
    """One network, the images it is judged on and those it is repaired with. Final."""

    def __init__(self, name: str, task: Task, asked: argparse.Namespace) -> None:
        assert isinstance(task.test, ArraySplit)
        self.name, self.task, self.asked = name, task, asked
        self.model = build(name).eval()
        path = asked.weights / f"cifar10_{name}.safetensors"
        fit_weights_(self.model, read_weights(path), str(path))
        self.example = task.test.preprocessing(task.test.images[:1])
        self.choosing = SmallBatches(task.test, slice(0, min(HALF, asked.images)))
        self.reporting = SmallBatches(task.test, slice(HALF, HALF + asked.told))
        draw = partial(generator, 0, "repair")
        batches = task.train.epoch(REPAIR_BATCH, order=draw("order"), augment=draw)
        self.batches = [images for images, _ in islice(batches, REPAIR_BATCHES)]

    def judge(self, model: nn.Module) -> Evaluation:
        return evaluate(model, self.choosing, self.task.loss, self.task.metric)

    def told(self, model: nn.Module) -> float:
        return evaluate(model, self.reporting, self.task.loss, self.task.metric).top1

    def repair(self, model: nn.Module, cuts: Cuts | None = None) -> nn.Module:
        return reestimate_batch_norm(model, self.batches)

    def size(self, model: nn.Module) -> Row:
        dense, macs = (count_macs(net, self.example).total for net in (self.model, model))
        fewer = 1 - count_params(model).params / count_params(self.model).params
        return {"macs": macs, "macs_fewer": 1 - macs / dense, "macs_x": dense / macs, "params_fewer": fewer}

    def singles(self) -> list[Row]:
        """A row for each block and link, in the order they run."""
        found = find_residuals(self.model, self.example).found
        nets = [without(self.model, cuts_of(one)) for one in found]
        rows = []
        for one, net in zip(found, nets, strict=True):
            row = {"model": self.name, "module": one.module, "kind": one.kind, "difference": one.difference}
            rows.append({**row, **self.size(net), "top1": self.told(net), "top1_repaired": self.told(self.repair(net))})
            show(rows[-1])
        add_speeds_(rows, [self.model, *nets], ("onnxruntime",), self.asked.seconds)
        return rows

    def removed(self, folder: Path) -> tuple[Plan, list[Row]]:
        """The plan that reaches the largest share, and a row for each share, the dense network's first."""
        trial = Trial(self.judge, self.repair, retry=self.asked.retry)
        plan = choose_blocks(self.model, self.example, trial, macs=max(SHARES))
        rows: list[Row] = [{"model": self.name, "removed": "", **self.size(self.model), "top1": self.told(self.model)}]
        nets = [self.model]
        for share in SHARES:
            cuts, taken = self.until(plan, share)
            net = without(self.model, cuts)
            better = self.repair(net)
            row = {"model": self.name, "removed": " ".join(taken), **self.size(net), "top1": self.told(net)}
            row["top1_repaired"] = self.told(better)
            if self.asked.epochs:
                self.train_(better, Run.open(folder, {"model": self.name, "share": share}, 0))
                row[f"top1_after_{self.asked.epochs}_epochs"] = self.told(better)
            show(row)
            rows.append(row)
            nets.append(net)
        add_speeds_(rows[1:], nets, self.asked.runtimes, self.asked.seconds)
        return plan, rows

    def until(self, plan: Plan, share: float) -> tuple[Cuts, list[str]]:
        """The first removals of the plan that together reach the share."""
        cuts, taken, left = Cuts(), [], plan.macs_before
        for price in plan.taken:
            if left > (1 - share) * plan.macs_before:
                cuts, left = cuts.then(cuts_of(price)), left - price.macs_saved
                taken.append(price.module)
        return cuts, taken

    def train_(self, model: nn.Module, run: Run) -> None:
        settings = TrainSettings(self.asked.epochs, self.asked.lr, 128, Sgd(0.9, 5e-4), checkpoint_seconds=1e9)
        fit_(model, self.task, settings, run, "fine_tune")
        model.eval()


def add_speeds_(rows: list[Row], nets: list[nn.Module], runtimes: tuple[str, ...], seconds: float) -> None:
    """Write into each row how many times faster than nets[0] its network is. rows: of nets[1:]."""
    for runtime in runtimes:
        for size in BATCHES:
            images = torch.randn(size, 3, 32, 32, generator=generator(0, "images"))
            calls = [partial(call, load_runtime(runtime)(net, images, 1), images) for net in nets]
            dense, *timings = time_interleaved(calls, threads=1, min_seconds=seconds)
            for row, timing in zip(rows, timings, strict=True):
                row[f"{runtime}_batch{size}_x"] = timing.ratio
                row[f"{runtime}_batch{size}_low"], row[f"{runtime}_batch{size}_high"] = (
                    timing.ratio_low,
                    timing.ratio_high,
                )
                row[f"{runtime}_batch{size}_dense_ms"] = dense.median_ms
                row[f"{runtime}_batch{size}_ms_saved"] = dense.median_ms - timing.median_ms


@torch.inference_mode()
def call(run: Any, images: Tensor) -> Tensor:
    return run(images)


def show(row: Row) -> None:
    print(
        "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()),
        file=sys.stderr,
        flush=True,
    )


def write_table(path: Path, rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def print_table(rows: list[Row]) -> None:
    """In Markdown; what was not measured is left empty."""
    hidden = ("difference", "_low", "_high", "_dense_ms")
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if not name.endswith(hidden)]
    print("\n| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        cells = [row.get(name, "") for name in names]
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def met(rows: list[Row]) -> bool:
    """Whether resnet44, where it was studied, meets the bars at the largest share."""
    last = [row for row in rows if row["model"] == "resnet44"][-1:]
    return all(row[f"onnxruntime_batch{size}_x"] >= bar for row in last for size, bar in BARS.items())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet44"])
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=HALF, help="of the choosing half, that blocks are chosen on")
    parser.add_argument("--told", type=int, default=HALF, help="images of the other half, that top1 is told on")
    parser.add_argument("--retry", type=int, default=6, help="how many blocks are tried anew after each removal")
    parser.add_argument("--epochs", type=int, default=1, help="of fine-tuning; 0 leaves it out")
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing a network and runtime, at least")
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "eager", "compile"])
    parser.add_argument("--without-singles", action="store_true")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    torch.set_num_threads(1)
    task = load_task("cifar10", data_dir=asked.data_dir)
    out = asked.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    singles: list[Row] = []
    removed: list[Row] = []
    tried: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.models:
            study = Study(name, task, asked)
            plan, rows = study.removed(Path(folder))
            removed += rows
            tried += [{"model": name, **row} for row in plan.rows()]
            singles += [] if asked.without_singles else study.singles()
    environment = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    found = {"singles": singles, "removed": removed, "tried": tried, "met": met(removed), "environment": environment}
    (out / "blocks.json").write_text(json.dumps(found, indent=1))
    for file, rows in (("singles", singles), ("removed", removed)):
        write_table(out / f"{file}.csv", rows)
        print_table(rows)
    print(f"\nwritten to {out}; bars {'met' if found['met'] else 'missed'}")
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
