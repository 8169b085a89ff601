"""What is a network worth that lost channels and was never trained again?

python benchmarks/quality.py [--models resnet20 resnet44] [--weights DIR] [--data-dir DIR] [--out DIR] [--draws 3]

Needs CIFAR-10 and DIR/cifar10_MODEL.safetensors, networks that were trained on all of CIFAR-10's training images: so
choices were made on the first 5,000 test images (--choosing) and top1 is told on the other 5,000. One thread.
The channels inside blocks go, lowest L2 norm first and more where they cost more (by_cost), until 20, 30 and 50 % of
the multiply-adds are gone; then come repairs on 1,024 augmented training images: none, bn, lsq, lsq then bn. Of the
--draws of images the middle one is told, with the lowest and the highest. Writes quality.json into --out and prints a
table.
Bars, with lsq: top1 >= 90.2, 87 and 72 % (the best of seven criteria and two scopes of the best-known peer, batch norm
estimated anew, over resnet20: 89.7, 84.3 and 63.5).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Batch, Split, Task
from prunelle.measure.accuracy import evaluate
from prunelle.measure.macs import count_macs
from prunelle.models.open import open_model
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair
from prunelle.prune.channel_shares import by_cost
from prunelle.prune.channels import plan_channels
from prunelle.seeds import generator

BARS = {0.2: 90.2, 0.3: 87.0, 0.5: 72.0}
HALF = 5000
REPAIRS = {
    "none": (),
    "bn": (batch_norm_repair,),
    "lsq": (least_squares_repair,),
    "lsq, bn": (least_squares_repair, batch_norm_repair),
}
Row = dict[str, Any]


class SmallBatches(Split):
    """The same images, 125 at a time: on one core twice as fast as 500."""

    def __init__(self, split: ArraySplit, part: slice) -> None:
        self.split = replace(split, images=split.images[part], labels=split.labels[part])

    def __len__(self) -> int:
        return len(self.split)

    def epoch(self, batch_size: int, **settings: Any) -> Iterator[Batch]:
        return self.split.epoch(min(batch_size, 125), **settings)

    def to(self, device: str | torch.device) -> Split:
        return self


def study(name: str, task: Task, asked: argparse.Namespace) -> list[Row]:
    """A row for the dense network, then one for each amount and repair."""
    assert isinstance(task.test, ArraySplit)
    part = SmallBatches(task.test, slice(0, HALF) if asked.choosing else slice(HALF, None))
    dense = open_model(name, weights=asked.weights / f"cifar10_{name}.safetensors").model
    example = torch.zeros(1, *task.input_shape)
    macs = count_macs(dense, example).total

    def row(model: nn.Module, amount: float, repair: str, top1s: list[float]) -> Row:
        fewer = 1 - count_macs(model, example).total / macs
        spread = {"top1": median(top1s), "lowest": min(top1s), "highest": max(top1s), "draws": len(top1s)}
        found = {"model": name, "amount": amount, "macs_fewer": fewer, "repair": repair, **spread}
        print(found, file=sys.stderr, flush=True)
        return found

    def top1(model: nn.Module) -> float:
        return 100 * evaluate(model, part, task.loss, task.metric).top1

    rows = [row(dense, 0.0, "none", [top1(dense)])]
    for amount in BARS:
        plan = plan_channels(dense, example, amount, of="macs", scope=by_cost, skip=trunk(dense))
        cut = plan.apply(dense)
        found: dict[str, list[float]] = {repair: [] for repair in REPAIRS}
        for draw in range(asked.draws):
            made: dict[tuple[Any, ...], nn.Module] = {(): cut}
            for repair, steps in REPAIRS.items():
                if steps not in made:
                    images = generator(draw, "quality", len(steps))
                    made[steps] = steps[-1](made[steps[:-1]], dense, plan.cuts, task, images)
                if steps or draw == 0:
                    found[repair].append(top1(made[steps]))
        rows += [row(cut, amount, repair, top1s) for repair, top1s in found.items()]
    return rows


def trunk(model: nn.Module) -> tuple[str, ...]:
    """What makes the channels that residual sums carry from block to block."""
    return ("conv1", *(path for path, _ in model.named_modules() if path.endswith(".conv2")))


def print_table(rows: list[Row]) -> None:
    """In Markdown: a line for each network and amount, a column for each repair."""
    print("\n| network | fewer MACs | " + " | ".join(REPAIRS) + " |\n|" + "---|" * (2 + len(REPAIRS)))
    for name, amount in dict.fromkeys((row["model"], row["amount"]) for row in rows):
        own = {row["repair"]: row for row in rows if (row["model"], row["amount"]) == (name, amount)}
        cells = [f"{r['top1']:.2f} ({r['lowest']:.2f}-{r['highest']:.2f})" for r in own.values()]
        cells += [""] * (len(REPAIRS) - len(cells))
        print(f"| {name} | {own['none']['macs_fewer']:.1%} | " + " | ".join(cells) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet44"])
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draws", type=int, default=3, help="of calibration images")
    parser.add_argument("--choosing", action="store_true", help="judge on the first half of the test images")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task("cifar10", data_dir=asked.data_dir)
    rows = [row for name in asked.models for row in study(name, task, asked)]
    met = all(row["top1"] >= BARS[row["amount"]] for row in rows if row["repair"] == "lsq")
    out = asked.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    environment = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    (out / "quality.json").write_text(json.dumps({"rows": rows, "met": met, "environment": environment}, indent=1))
    print_table(rows)
    print(f"\nwritten to {out}; bars {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
