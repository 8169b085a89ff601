"""Whether members trained in one program become what each becomes alone.

python benchmarks/tickets_equality.py [--data-dir DIR] [--json FILE]

Members differ in weights, masks (100, 50, 20, 5 % kept), order of the data and learning rate. The largest absolute
difference of any weight, running statistic or optimizer quantity after training by FusedTrainer and by PlainTrainer,
on one thread:
  lenet_300_100  float32, 16 members, 100 steps of 128 images (MNIST where found, else random), SGD and Adam   1e-6
  lenet5         float64, 4 members, 20 steps of 32 random images, SGD and Adam                              1e-12
  resnet20       float64, 3 members, 20 steps of 16 random images 3x16x16, SGD; shortcuts padded             1e-12
  two_blocks     the same with the ImageNet family's blocks, 2 members; shortcuts convolved                  1e-12
(with batch norm and grouped convolutions too, as on a GPU). Adam is left out where batch norm follows a bias: a
gradient that is 0 but for rounding makes a step of a whole learning rate.
Then whether the bits of a member of lenet_300_100 are the same in groups of 1, 2, 5 and 16. Exits 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunelle.data.arrays import ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Batch
from prunelle.errors import DataError
from prunelle.measure.params import prunable
from prunelle.models.load import build
from prunelle.models.resnet import BasicBlock
from prunelle.tickets.fused import FusedTrainer
from prunelle.tickets.trainer import PlainTrainer, Start, Trainer
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.step import Update

KEPT = (1.0, 0.5, 0.2, 0.05)
GROUPS = (1, 2, 5, 16)


@dataclass(frozen=True)
class Case:
    """One comparison. lr: of SGD; Adam's is a fiftieth. bar: the largest difference allowed."""

    net: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    dtype: torch.dtype
    members: int
    steps: int
    size: int
    optimizers: tuple[Optimizer, ...]
    bar: float
    lr: float = 0.05

    def lrs(self, optimizer: Optimizer) -> list[float]:
        least = self.lr / 50 if isinstance(optimizer, Adam) else self.lr
        return [least * (1 + member % 2) for member in range(self.members)]


def two_blocks() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        BasicBlock(16, 16, 1),
        BasicBlock(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


SGD, ADAM = Sgd(0.9, weight_decay=1e-4), Adam()
CASES = (
    Case("lenet_300_100", lambda: build("lenet_300_100"), (1, 28, 28), torch.float32, 16, 100, 128, (SGD, ADAM), 1e-6),
    Case("lenet5", lambda: build("lenet5"), (1, 28, 28), torch.float64, 4, 20, 32, (SGD, ADAM), 1e-12),
    Case("resnet20", lambda: build("resnet20"), (3, 16, 16), torch.float64, 3, 20, 16, (SGD,), 1e-12),
    Case("two_blocks", two_blocks, (3, 16, 16), torch.float64, 2, 20, 16, (SGD,), 1e-12),
)


def starts_of(case: Case) -> list[Start]:
    starts = []
    for member in range(case.members):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(member)
            model = case.make().to(case.dtype)
        share, drawn = KEPT[member % len(KEPT)], torch.Generator().manual_seed(member)
        kept = {name: torch.rand(w.shape, generator=drawn) < share for name, w in prunable(model).items()}
        starts.append(Start(model.state_dict(), kept if share < 1 else {}))
    return starts


def images_of(case: Case, data_dir: str | None) -> tuple[Tensor, Tensor]:
    """MNIST's for lenet_300_100 where found, else random ones in a border of zeros."""
    if case.net == "lenet_300_100":
        try:
            split = load_task("mnist", data_dir=data_dir).train
            assert isinstance(split, ArraySplit)
            return split.preprocessing(split.images), split.labels
        except DataError:
            pass
    drawn = torch.Generator().manual_seed(0)
    num = 4 * case.size
    images = torch.zeros(num, *case.shape, dtype=case.dtype)
    inner = (num, case.shape[0], *(side - 4 for side in case.shape[1:]))
    images[..., 2:-2, 2:-2] = torch.randn(inner, generator=drawn, dtype=case.dtype)
    return images, torch.randint(0, 10, (num,), generator=drawn)


def batches(case: Case, data: tuple[Tensor, Tensor]) -> Iterator[list[Batch]]:
    """Every second member reads member 0's tensors, every other an order of its own."""
    images, labels = data
    orders = [torch.Generator().manual_seed(member) for member in range(case.members)]
    for _ in range(case.steps):
        picks = [torch.randint(0, len(labels), (case.size,), generator=order) for order in orders]
        own = [(images[pick], labels[pick]) for pick in picks]
        yield [own[member if member % 2 else 0] for member in range(case.members)]


def furthest(plain: Trainer, fused: Trainer) -> float:
    """The largest difference of any number of any member."""
    found = 0.0
    for member in range(plain.num_members):
        one, other = plain.tensors(member), fused.tensors(member)
        mine, theirs = plain.optimizer(member), fused.optimizer(member)
        pairs = [(one[name], other[name]) for name in one]
        pairs += [pair for quantity in mine for pair in zip(mine[quantity], theirs[quantity], strict=True)]
        found = max(found, *(float((a - b).abs().max()) for a, b in pairs))
    return found


def compare(case: Case, optimizer: Optimizer, data: tuple[Tensor, Tensor], grouped: bool) -> dict[str, Any]:
    """One row."""
    starts, rule = starts_of(case), Update(Plain(cross_entropy), optimizer)
    model = case.make().to(case.dtype)
    plain = PlainTrainer(model, starts, rule, case.shape)
    fused = FusedTrainer(model, starts, rule, case.shape, grouped)
    lrs, seeds, loss_off = case.lrs(optimizer), [0] * case.members, 0.0
    for given in batches(case, data):
        losses = plain.step_(given, lrs, seeds) - fused.step_(given, lrs, seeds)
        loss_off = max(loss_off, float(losses.abs().max()))
    off = furthest(plain, fused)
    return {
        "net": case.net,
        "dtype": str(case.dtype).removeprefix("torch."),
        "optimizer": type(optimizer).__name__,
        "convolutions": "grouped" if grouped else "apart",
        "members": case.members,
        "steps": case.steps,
        "difference": off,
        "loss_difference": loss_off,
        "bar": case.bar,
        "passed": off <= case.bar,
    }


def company(case: Case, data: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Whether member 0's bits are the same beside any number of others, after ten steps of Adam."""
    starts, rule, found = starts_of(case), Update(Plain(cross_entropy), ADAM), []
    given = [own for own, _ in zip(batches(case, data), range(10), strict=False)]
    for members in GROUPS:
        trainer = FusedTrainer(case.make(), starts[:members], rule, case.shape)
        for own in given:
            trainer.step_(own[:members], case.lrs(ADAM)[:members], [0] * members)
        found.append(trainer.tensors(0))
    same = all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in other)
    return {"net": case.net, "groups": list(GROUPS), "same_bits": same, "passed": same}


def judge(data_dir: str | None) -> dict[str, Any]:
    rows = []
    for case in CASES:
        data = images_of(case, data_dir)
        convolves = any(isinstance(module, nn.Conv2d) for module in case.make().modules())
        for optimizer in case.optimizers:
            for grouped in (False, True) if convolves else (False,):
                rows.append(compare(case, optimizer, data, grouped))
                row = rows[-1]
                head = f"{row['net']:14} {row['dtype']} {row['optimizer']:4} {row['convolutions']:7}"
                print(f"{head} off by {row['difference']:.1e}, bar {row['bar']:.0e}", flush=True)
    beside = company(CASES[0], images_of(CASES[0], data_dir))
    print(
        f"{beside['net']} in groups of {beside['groups']}: {'the same bits' if beside['same_bits'] else 'other bits'}"
    )
    return {"rows": rows, "company": beside, "passed": all(row["passed"] for row in (*rows, beside))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    verdict = judge(asked.data_dir)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    if asked.json:
        asked.json.write_text(json.dumps(verdict, indent=2) + "\n")
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
