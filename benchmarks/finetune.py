"""What three epochs of training give back to a network that lost channels.

python benchmarks/finetune.py [--model resnet44] [--amount 0.5] [--epochs 3] [--weights DIR] [--json FILE]

Needs CIFAR-10 and DIR/cifar10_MODEL.safetensors, a network trained on all of CIFAR-10's training images: so settings
were chosen on the first 5,000 test images (--choosing) and top1 is told on the other 5,000. Channels inside blocks go
(lowest L2 norm first, shares by cost), least squares mends, then SGD with the dense network as teacher. One thread,
bfloat16; about 15 minutes a seed.
Bar: resnet44 at 50 % fewer multiply-adds, 3 epochs: top1 >= 91.0 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from quality import HALF, SmallBatches, trunk

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.measure.accuracy import evaluate
from prunelle.measure.macs import count_macs
from prunelle.models.open import open_model
from prunelle.prune.channel_repairs import least_squares_repair
from prunelle.prune.channel_shares import by_cost
from prunelle.prune.channels import plan_channels
from prunelle.runs import Run
from prunelle.seeds import generator
from prunelle.train.optimizers import Sgd
from prunelle.train.precision import BF16
from prunelle.train.settings import Teacher, TrainSettings
from prunelle.train.stage import Train

BAR = 91.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--model", default="resnet44")
    parser.add_argument("--amount", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--data-dir")
    parser.add_argument("--choosing", action="store_true", help="judge on the first half of the test images")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task("cifar10", data_dir=asked.data_dir)
    assert isinstance(task.test, ArraySplit)
    part = SmallBatches(task.test, slice(0, HALF) if asked.choosing else slice(HALF, None))
    dense = open_model(asked.model, weights=asked.weights / f"cifar10_{asked.model}.safetensors").model
    example = torch.zeros(1, *task.input_shape)
    plan = plan_channels(dense, example, asked.amount, of="macs", scope=by_cost, skip=trunk(dense))
    rows = []
    for seed in range(asked.seeds):
        cut = least_squares_repair(plan.apply(dense), dense, plan.cuts, task, generator(seed, "finetune"))
        settings = TrainSettings(
            asked.epochs, asked.lr, optimizer=Sgd(0.9, 1e-4), precision=BF16, teacher=Teacher(dense, 4.0, 0.9)
        )
        begun = perf_counter()
        run = Run.open(tempfile.mkdtemp(), {"benchmark": "finetune"}, seed)
        tuned = Train(settings, "finetune")(cut, task, run)
        before, after = (100 * evaluate(model, part, task.loss, task.metric).top1 for model in (cut, tuned))
        fewer = 1 - count_macs(tuned, example).total / count_macs(dense, example).total
        minutes = (perf_counter() - begun) / 60
        rows.append({"seed": seed, "macs_fewer": fewer, "repaired": before, "tuned": after, "minutes": minutes})
        print(rows[-1], flush=True)
    top1 = median(row["tuned"] for row in rows)
    print(f"median top1 after {asked.epochs} epochs {top1:.2f} %, bar {BAR} %: {'met' if top1 >= BAR else 'missed'}")
    if asked.json:
        asked.json.write_text(json.dumps({"rows": rows, "bar": BAR, "met": top1 >= BAR}, indent=1))
    return 0 if top1 >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
