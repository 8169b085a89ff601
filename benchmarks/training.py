"""What does our loop cost beside a bare one, what do held masks cost, and what does bf16 bring?

python benchmarks/training.py [--data-dir DIR] [--epochs 3] [--images 5000] [--short-epochs 2] [--seconds 10]

On one thread, both sides in turns in one process. Bars: the loop with masks, rows, progress, divergence checks and a
checkpoint a block reaches 0.95 of a bare PyTorch loop with the same fused optimizer on lenet_300_100 (MNIST where
found, else random images of its shape), both validating after each epoch; holding masks costs at most 2 % of a step of
ResNet-20 (batch 128, 3x32x32) and 6 % of one of lenet_300_100. bf16 against fp32 on ResNet-20 is told, not judged:
step time, and top-1 over 3 short seeds where CIFAR-10 is found. Prints JSON and exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.data.arrays import Arrays, ArraySet, ArraySplit
from prunelle.data.load import load_task
from prunelle.data.task import Preprocessing, Split, Task
from prunelle.errors import DataError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.latency import Timing, time_interleaved
from prunelle.measure.params import prunable
from prunelle.models.load import build
from prunelle.prune.masks import HeldZeros
from prunelle.prune.weights import PruneWeights
from prunelle.runs import Run
from prunelle.seeds import generator
from prunelle.train.loop import fit_
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Sgd
from prunelle.train.precision import BF16, FP32, Precision
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train
from prunelle.train.step import Update, init_state, update_

BATCH = 128
LR, MOMENTUM = 0.05, 0.9
SPARSITY = 0.9
LOOP_BAR, RESNET_MASK_BAR, MLP_MASK_BAR = 0.95, 0.02, 0.06
SEEDS = (0, 1, 2)
VAL_IMAGES = 1000


def random_mnist() -> Task:
    """Random images of MNIST's shapes and numbers."""
    rng = np.random.default_rng(0)

    def part(num: int) -> Arrays:
        return Arrays(rng.integers(0, 256, (num, 1, 28, 28)).astype(np.uint8), rng.integers(0, 10, num))

    scaling = Preprocessing((0.13,), (0.31,))
    return ArraySet("random", part(55_000), part(5_000), part(10_000), scaling, tuple("0123456789")).task()


def task_named(name: str, data_dir: str | None) -> Task | None:
    try:
        return load_task(name, data_dir=data_dir)
    except DataError:
        return None


def seeded(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(name)


def ours(model: nn.Module, task: Task, epochs: int, folder: Path) -> Callable[[], None]:
    """A training of `epochs` by our loop, zeros held, in a run folder of its own each time."""
    number = count()
    settings = TrainSettings(epochs, LR, BATCH, Sgd(MOMENTUM))

    def block() -> None:
        trained = copy.deepcopy(model)
        run = Run.open(folder, {"block": next(number)}, 0)
        fit_(trained, task, settings, run, "train", HeldZeros(prunable(trained)))

    return block


def bare(model: nn.Module, task: Task, epochs: int) -> Callable[[], None]:
    """The same updates as one would write them without a library: no mask, row, check or checkpoint."""
    split = task.train
    assert isinstance(split, ArraySplit)
    images, labels = split.preprocessing(split.images), split.labels
    steps = len(labels) // BATCH

    def block() -> None:
        trained = copy.deepcopy(model)
        optimizer = torch.optim.SGD(trained.parameters(), lr=LR, momentum=MOMENTUM, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
        for epoch in range(epochs):
            trained.train()
            order = torch.randperm(len(labels), generator=generator(0, epoch))
            for pick in order.split(BATCH)[:steps]:
                loss = cross_entropy(trained(images[pick]), labels[pick])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            evaluate(trained, task.val, task.loss, task.metric)

    return block


def loop_against_bare(task: Task, epochs: int, seconds: float, folder: Path) -> dict:
    """Our speed over the bare loop's."""
    sparse = PruneWeights(SPARSITY)(seeded("lenet_300_100"), task, Run(folder, 0))
    fns = [bare(sparse, task, epochs), ours(sparse, task, epochs, folder)]
    _, timing = time_interleaved(fns, threads=1, min_seconds=seconds, min_samples=30)
    assert timing.ratio is not None
    steps = epochs * task.train.num_batches(BATCH, drop_last=True)
    return {
        "data": task.name,
        "steps_a_block": steps,
        "ms_a_step": timing.median_ms / steps,
        **ratio_of(timing),
        "bar": LOOP_BAR,
        "passed": timing.ratio >= LOOP_BAR,
    }


def stepper(name: str, shape: tuple[int, ...], precision: Precision, masked: bool) -> Callable[[], None]:
    """One update of a network, as the loop does it, on one random batch."""
    model = seeded(name).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    held = HeldZeros(prunable(model))
    masks = {key: torch.rand_like(w) >= SPARSITY for key, w in held.weights.items()}
    held.hold_(masks)
    rule = Update(Plain(cross_entropy), Sgd(MOMENTUM), precision)
    state = init_state(model, rule.optimizer)
    batch = (torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,)))

    def step() -> None:
        update_(model, state, batch, rule, 1e-6, 0)
        if masked:
            held.after_update_(1)

    return step


def mask_cost(name: str, shape: tuple[int, ...], bar: float, seconds: float) -> dict:
    """Share of a step that holding masks adds."""
    fns = [stepper(name, shape, FP32, masked) for masked in (False, True)]
    plain, timing = time_interleaved(fns, threads=1, min_seconds=seconds)
    assert timing.ratio is not None
    cost = 1 / timing.ratio - 1
    return {"ms_a_step": plain.median_ms, "cost": cost, **ratio_of(timing), "bar": bar, "passed": cost <= bar}


def bf16_speed(seconds: float) -> dict:
    """Speed of a bf16 step of ResNet-20 over an fp32 step."""
    fns = [stepper("resnet20", (3, 32, 32), precision, masked=False) for precision in (FP32, BF16)]
    plain, timing = time_interleaved(fns, threads=1, min_seconds=seconds)
    return {"fp32_ms_a_step": plain.median_ms, "bf16_ms_a_step": timing.median_ms, **ratio_of(timing)}


def bf16_accuracy(task: Task, images: int, epochs: int, folder: Path) -> dict:
    """Top-1 on test after a short training in either format, the same seeds."""
    short = replace(task, train=first(task.train, images), val=first(task.val, VAL_IMAGES))
    found: dict[str, list[float]] = {}
    for name, precision in (("fp32", FP32), ("bf16", BF16)):
        settings = TrainSettings(epochs, 0.1, BATCH, Sgd(MOMENTUM, 1e-4), precision=precision)
        for seed in SEEDS:
            run = Run.open(folder, {"precision": name}, seed)
            trained = Train(settings)(seeded("resnet20", seed), short, run)
            found.setdefault(name, []).append(evaluate(trained, task.test, task.loss, task.metric).top1)
    pairs = [100 * (b - a) for a, b in zip(found["fp32"], found["bf16"], strict=True)]
    difference = {"mean": statistics.mean(pairs), "stdev": statistics.stdev(pairs)}
    return {
        "images": images,
        "epochs": epochs,
        "seeds": len(SEEDS),
        "top1": found,
        "bf16_minus_fp32_points": difference,
    }


def first(split: Split, num: int) -> ArraySplit:
    """The first `num` examples of a split, which are in no order of class."""
    assert isinstance(split, ArraySplit)
    return dataclasses.replace(split, images=split.images[:num], labels=split.labels[:num])


def ratio_of(timing: Timing) -> dict:
    return {
        "ratio": timing.ratio,
        "ratio_low": timing.ratio_low,
        "ratio_high": timing.ratio_high,
        "num_samples": timing.num_samples,
    }


def judge(asked: argparse.Namespace, folder: Path) -> dict:
    torch.set_num_threads(1)
    mnist = task_named("mnist", asked.data_dir) or random_mnist()
    cifar = task_named("cifar10", asked.data_dir) if asked.images else None
    verdict: dict = {
        "loop": loop_against_bare(mnist, asked.epochs, asked.seconds, folder / "loop"),
        "masks_resnet20": mask_cost("resnet20", (3, 32, 32), RESNET_MASK_BAR, asked.seconds),
        "masks_lenet_300_100": mask_cost("lenet_300_100", (1, 28, 28), MLP_MASK_BAR, asked.seconds),
        "bf16_step": bf16_speed(asked.seconds),
        "bf16_accuracy": bf16_accuracy(cifar, asked.images, asked.short_epochs, folder / "bf16") if cifar else None,
    }
    verdict["passed"] = all(part["passed"] for part in verdict.values() if part and "passed" in part)
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=3, help="of a block of the loop")
    parser.add_argument("--images", type=int, default=5000, help="of CIFAR-10 to train on; 0 leaves accuracy out")
    parser.add_argument("--short-epochs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="a side and comparison, at least")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(asked, Path(folder))
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    print(json.dumps(verdict, indent=2))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
