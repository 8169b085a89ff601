"""Does an interrupted training end as if nothing had happened? Interrupts at random moments, then goes on.

python benchmarks/resume.py [--points 20] [--seed 0]

Each case is trained once undisturbed, then `points` times with an interruption: before, inside or after a random
update, before or after the validation of a random epoch. Checkpoints are written after every update, every third, or
only at the end of a stage, so that work is done again. Weights, buffers, optimizer state, masks, the best snapshot,
progress and the rows of metrics.jsonl must be equal bit for bit. Prints JSON and exits 1 when any bit differs.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import platform
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.augment import crop_flip
from prunelle.data.task import Preprocessing, Task
from prunelle.prune.select import per_layer
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain
from prunelle.runs import Run
from prunelle.steps import Chain, Step
from prunelle.train import loop
from prunelle.train.optimizers import Adam
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.stage import Train

SETTINGS = TrainSettings(epochs=4, lr=0.05, batch_size=16)
CHECKPOINT_STEPS = (1, 3, 1000)
MOMENTS = ("before update", "inside update", "before validation", "after row", "after checkpoint")


class Interrupted(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error of its own."""


@dataclass(frozen=True)
class Case:
    """make: checkpoint_steps -> the step to run. augmented: images are cropped and flipped at random."""

    net: Callable[[], nn.Module]
    make: Callable[[int], Step]
    augmented: bool = False


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 24), nn.ReLU(), nn.Linear(24, 3))


def conv_net() -> nn.Module:
    convolutions = (nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
    return nn.Sequential(*convolutions, nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, 3))


def settings(checkpoint_steps: int, **changed) -> TrainSettings:
    return dataclasses.replace(SETTINGS, checkpoint_steps=checkpoint_steps, **changed)


CASES = {
    "mlp, adam": Case(mlp, lambda every: Train(settings(every, optimizer=Adam(), lr=0.01))),
    "batch norm, dropout, augmentation": Case(conv_net, lambda every: Train(settings(every)), augmented=True),
    "gradual pruning": Case(
        conv_net,
        lambda every: PruneGradually(0.8, settings(every, early_stop=EarlyStop(patience=3)), frequency=2, end=0.5),
        augmented=True,
    ),
    "early stopping": Case(
        mlp, lambda every: Train(settings(every, epochs=12, lr=0.3, early_stop=EarlyStop(patience=2)))
    ),
    "averaged weights": Case(
        conv_net,
        lambda every: Train(settings(every, average_epochs=0.7, early_stop=EarlyStop(patience=2))),
        augmented=True,
    ),
    "early stopping, audited": Case(
        mlp, lambda every: Train(settings(every, epochs=12, lr=0.3, early_stop=EarlyStop(patience=2, audit=True)))
    ),
    "prune and retrain": Case(
        mlp,
        lambda every: Chain(
            (
                PruneWeights(0.5, scope=per_layer),
                Retrain(settings(every, epochs=2, best_from=0.5)),
                PruneWeights(0.8, name="prune2"),
                Retrain(settings(every, epochs=2), "retrain2"),
            )
        ),
    ),
}


def small_task(augmented: bool) -> Task:
    """Random images whose brightness tells the class; 50 of train, so that the last batch is left out."""
    rng = np.random.default_rng(0)

    def part(count: int) -> Arrays:
        labels = rng.integers(0, 3, count)
        images = rng.integers(0, 200, (count, 2, 6, 6)) + 25 * labels[:, None, None, None]
        return Arrays(images.astype(np.uint8), labels)

    scaling = Preprocessing(mean=(0.4, 0.4), std=(0.25, 0.25))
    change = crop_flip if augmented else None
    return ArraySet("small", part(50), part(40), part(40), scaling, tuple("abc"), change).task()


@dataclass
class Alarm:
    """Raises Interrupted at the `at`-th time (from 0) that something happens, before or after it."""

    at: int
    after: bool
    seen: int = 0

    def around(self, function: Callable) -> Callable:
        def rung(*args, **kwargs):
            mine, self.seen = self.seen == self.at, self.seen + 1
            if mine and not self.after:
                raise Interrupted
            result = function(*args, **kwargs)
            if mine:
                raise Interrupted
            return result

        return rung


def interrupted(step: Step, model: nn.Module, task: Task, run: Run, moment: str, at: int) -> bool:
    """Start the step and interrupt it. False when it ended before the moment came."""
    alarm = Alarm(at, after=moment in ("inside update", "after row", "after checkpoint"))
    places: dict[str, tuple] = {
        "before update": (loop, "update_"),
        "inside update": (loop, "update_"),
        "before validation": (loop, "evaluate"),
        "after row": (Run, "record"),
        "after checkpoint": (Run, "save_checkpoint"),
    }
    owner, name = places[moment]
    with ExitStack() as stack:
        stack.enter_context(patch.object(owner, name, alarm.around(getattr(owner, name))))
        try:
            step(model, task, run)
        except Interrupted:
            return True
    return False


def result(step: Step, model: nn.Module, task: Task, run: Run) -> dict[str, bytes]:
    """All that a training leaves behind, by name, as bytes; wall time left out."""
    found = {f"model {name}": bits(t) for name, t in step(model, task, run).state_dict().items()}
    for path in sorted(run.folder.glob("*.checkpoint")):
        tensors, info = run.load_checkpoint(path.stem)  # type: ignore[misc]
        found |= {f"{path.stem} {name}": bits(t) for name, t in tensors.items()}
        found[f"{path.stem} info"] = repr(sorted((k, v) for k, v in info.items() if k != "seconds")).encode()
    rows = [{key: value for key, value in row.items() if key != "shares"} for row in run.rows()]
    return found | {"rows": repr(rows).encode()}


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def judge_case(case: Case, points: int, seed: int, folder: Path) -> dict:
    """Interrupt a case at random moments. Returns {points, updates, differing: [...]}."""
    draws = random.Random(seed)
    task = small_task(case.augmented)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = case.net()
    before = copy.deepcopy(model.state_dict())
    expected = {
        every: result(case.make(every), model, task, Run.open(folder, {"every": every}, seed))
        for every in CHECKPOINT_STEPS
    }
    rows = Run.open(folder, {"every": 1}, seed).rows()
    epochs = len(rows)
    updates = sum(row["step"] for row, after in zip(rows, [*rows[1:], None], strict=True)
                  if after is None or after["stage"] != row["stage"])  # fmt: skip
    most = {"before validation": epochs, "after row": epochs}
    differing = []
    for point in range(points):
        every, moment = CHECKPOINT_STEPS[point % len(CHECKPOINT_STEPS)], MOMENTS[point % len(MOMENTS)]
        at = draws.randrange(most.get(moment, updates if every == 1 or "update" in moment else 1))
        run = Run.open(folder, {"every": every, "point": point}, seed)
        hit = interrupted(case.make(every), model, task, run, moment, at)
        if draws.random() < 0.5:  # and once more on the way
            interrupted(case.make(every), model, task, run, "before update", draws.randrange(5))
        found = result(case.make(every), model, task, run)
        wrong = [name for name in expected[every] if found.get(name) != expected[every][name]]
        if not hit or wrong or found.keys() != expected[every].keys():
            differing.append({"moment": moment, "at": at, "checkpoint_steps": every, "hit": hit, "wrong": wrong[:5]})
    if any(not torch.equal(t, before[name]) for name, t in model.state_dict().items()):
        differing.append({"moment": "the model that was given has changed"})
    return {"points": points, "updates": updates, "differing": differing}


def judge(points: int, seed: int) -> dict:
    """All cases, in one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            name: judge_case(case, points, seed, Path(folder) / str(number))
            for number, (name, case) in enumerate(CASES.items())
        }
    return {"cases": cases, "passed": not any(case["differing"] for case in cases.values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20, help="interruptions a case")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    verdict = judge(asked.points, asked.seed)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    print(json.dumps(verdict, indent=2))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
