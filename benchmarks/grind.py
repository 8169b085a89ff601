"""Four different trainings on two cores: through the local engine, and as they grind to a halt.

python benchmarks/grind.py [--seconds 5] [--rounds 5] [--data-dir DIR] [--json FILE]

lenet_300_100, lenet5 and lenet5_small on MNIST and resnet20 on CIFAR-10 (random images of their shapes where the data
is not found), batch 128, SGD with momentum. In each round, one after another:
  alone      each training by itself on one worker of the engine, one thread, so many seconds
  engine     all four given to the engine at once; its two workers take them as they are free
  grind      the arrangement that such a search once had: four processes with four DataLoader workers and as many
             threads as PyTorch takes each, all at once; starting up is not counted
  machine    a loop of matrix products on one worker, and on two: what two processes can bring here at all
Steps of different networks are made one unit by the training's own speed alone: 2.0 means as many steps a second as two
single-thread trainings that do not disturb each other. Medians over the rounds, with the lowest and highest.
by_processor_time is the same from steps a second of processor time, times two: what others on a busy machine take away
is left out, what the two workers take from each other is not. Bar: the engine reaches 1.7, by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from training import BATCH, LR, MOMENTUM, random_mnist, seeded, task_named

from prunelle.data.arrays import Arrays, ArraySet, ArraySplit
from prunelle.data.task import Batch, Preprocessing, Task
from prunelle.engines.engine import Engine
from prunelle.engines.local import num_cores, workers_of
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Sgd
from prunelle.train.step import Update, init_state, update_

BAR = 1.7
CORES = 2
LOADERS = 4
TRAININGS = {"lenet_300_100": "mnist", "lenet5": "mnist", "lenet5_small": "mnist", "resnet20": "cifar10"}
LIMIT_SECONDS = 120
"""For the old arrangement, from its start to its end; what has not ended by then counts no steps."""
SIDE = 256
RATIOS = ("engine", "engine_by_processor_time", "grind", "machine")


def random_cifar() -> Task:
    """Random images of CIFAR-10's shapes and numbers."""
    import numpy as np

    rng = np.random.default_rng(0)

    def part(num: int) -> Arrays:
        return Arrays(rng.integers(0, 256, (num, 3, 32, 32)).astype(np.uint8), rng.integers(0, 10, num))

    scaling = Preprocessing((0.5,) * 3, (0.25,) * 3)
    return ArraySet("random", part(45_000), part(5_000), part(10_000), scaling, tuple("0123456789")).task()


def tasks_from(data_dir: str | None) -> dict[str, Task]:
    return {
        "mnist": task_named("mnist", data_dir) or random_mnist(),
        "cifar10": task_named("cifar10", data_dir) or random_cifar(),
    }


class Done(NamedTuple):
    """updates, and the seconds they took, by the clock and of this process's processor time."""

    steps: int
    seconds: float
    processor_seconds: float


def steps_in(name: str, batches: Iterator[Batch], task: Task, seconds: float) -> Done:
    """Updates for so long, after one that is not counted."""
    model = seeded(name).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rule = Update(Plain(task.loss), Sgd(MOMENTUM))
    state = init_state(model, rule.optimizer)
    update_(model, state, next(batches), rule, LR, 0)
    steps, begun, before = 0, perf_counter(), process_time()
    while perf_counter() < begun + seconds:
        update_(model, state, next(batches), rule, LR, steps)
        steps += 1
    return Done(steps, perf_counter() - begun, process_time() - before)


def endless(task: Task) -> Iterator[Batch]:
    """Batches from memory, epoch after epoch."""
    order = torch.Generator().manual_seed(0)
    while True:
        yield from task.train.epoch(BATCH, order=order, drop_last=True)


def train(job: tuple[str, float], tasks: dict[str, Task]) -> Done:
    name, seconds = job
    task = tasks[TRAININGS[name]]
    return steps_in(name, endless(task), task, seconds)


def multiply(seconds: float, tasks: object) -> float:
    """Matrix products a second."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    count, begun = 0, perf_counter()
    while perf_counter() < begun + seconds:
        torch.mm(left, right)
        count += 1
    return count / (perf_counter() - begun)


class Images(Dataset):
    """One image at a time, scaled when it is asked for, as a DataLoader's worker does it."""

    def __init__(self, task: Task) -> None:
        assert isinstance(task.train, ArraySplit)
        self.split = task.train

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.split.preprocessing(self.split.images[number : number + 1])[0], self.split.labels[number]


def be_old(name: str, seconds: float, data_dir: str | None) -> None:
    """One process of the old arrangement: says `ready`, waits for a line, trains, prints its steps a second."""
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: that is the point
    task = tasks_from(data_dir)[TRAININGS[name]]

    def epochs() -> Iterator[Batch]:
        while True:
            yield from DataLoader(Images(task), BATCH, shuffle=True, num_workers=LOADERS, drop_last=True)

    batches = epochs()
    next(batches)
    print("ready", flush=True)
    sys.stdin.readline()
    done = steps_in(name, batches, task, seconds)
    print(done.steps / done.seconds, flush=True)


def grind(seconds: float, data_dir: str | None) -> dict[str, float]:
    """Steps a second of each training, all four at once as they once were."""
    told = ["--seconds", str(seconds), *(["--data-dir", data_dir] if data_dir else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    four = {
        name: subprocess.Popen([sys.executable, __file__, "--old", name, *told], start_new_session=True, **pipes)
        for name in TRAININGS
    }

    def stop() -> None:
        for process in four.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    late = threading.Timer(LIMIT_SECONDS, stop)
    late.start()
    for process in four.values():
        process.stdout.readline()
    for process in four.values():
        with suppress(BrokenPipeError):
            process.stdin.write("go\n")
            process.stdin.flush()
    found = {name: float(process.communicate()[0] or 0) for name, process in four.items()}
    late.cancel()
    return found


def round_of(engine: Engine, seconds: float, data_dir: str | None) -> dict[str, Any]:
    """All arrangements once."""
    alone: dict[str, Done] = {name: engine.run(train, [(name, seconds)])[0] for name in TRAININGS}
    begun = perf_counter()
    found: list[Done] = engine.run(train, [(name, seconds) for name in TRAININGS])
    wall = perf_counter() - begun
    one, two = engine.run(multiply, [seconds]), engine.run(multiply, [seconds] * CORES)
    rates = {
        "alone": {name: done.steps / done.seconds for name, done in alone.items()},
        "engine": {name: done.steps / wall for name, done in zip(TRAININGS, found, strict=True)},
        "grind": grind(seconds, data_dir),
    }
    slowed = [
        done.steps / done.processor_seconds * before.processor_seconds / before.steps
        for done, before in zip(found, alone.values(), strict=True)
    ]
    return {
        "steps_a_second": rates,
        "engine": sum(rates["engine"][name] / rates["alone"][name] for name in TRAININGS),
        "engine_by_processor_time": CORES * statistics.mean(slowed),
        "grind": sum(rates["grind"][name] / rates["alone"][name] for name in TRAININGS),
        "machine": sum(two) / one[0],
    }


def judge(asked: argparse.Namespace) -> dict[str, Any]:
    tasks = tasks_from(asked.data_dir)
    rounds = []
    with workers_of(CORES, tasks) as engine:
        engine.run(train, [(name, 0.1) for name in TRAININGS])
        for _ in range(asked.rounds):
            rounds.append(round_of(engine, asked.seconds, asked.data_dir))
            print({key: round(rounds[-1][key], 3) for key in RATIOS}, file=sys.stderr)
    verdict: dict[str, Any] = {"data": {name: task.name for name, task in tasks.items()}}
    for key in RATIOS:
        samples = [one[key] for one in rounds]
        verdict[key] = {"median": statistics.median(samples), "lowest": min(samples), "highest": max(samples)}
    verdict["steps_a_second"] = {
        way: {name: statistics.median(one["steps_a_second"][way][name] for one in rounds) for name in TRAININGS}
        for way in ("alone", "engine", "grind")
    }
    return verdict | {"bar": BAR, "passed": verdict["engine"]["median"] >= BAR}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="that each training runs in each arrangement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--old", choices=list(TRAININGS), help="be one process of the old arrangement")
    asked = parser.parse_args()
    if asked.old:
        be_old(asked.old, asked.seconds, asked.data_dir)
        return 0
    torch.set_num_threads(1)
    verdict = judge(asked)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "cores": num_cores()}
    verdict["environment"]["load"] = os.getloadavg()[0]
    print(json.dumps(verdict, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(verdict, indent=1))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
