"""Is the timer honest? Same against same, a known slowdown, and a mask that removes no work.

python benchmarks/timer.py [--aa 500] [--slow 100] [--masked 10] [--seed 0]

LeNet-300-100 and a net of two convolutions in turn, batch 1, one thread; the masks on LeNet-300-100 and ResNet-20.
Prints JSON and exits 1 when a bar is missed: a difference claimed in at most 2 % of comparisons of a function with
itself; a slowdown of 5 % claimed, as a slowdown, in at least 95 %; 90 % zeros report 1.00x +- 0.03 every time.
"""

import argparse
import copy
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from prunelle.measure.latency import Timing, claims_difference, time_callable, time_interleaved
from prunelle.models.lenet import lenet_300_100
from prunelle.models.resnet import resnet20
from prunelle.seeds import generator

SLOWDOWN = 0.05
Item = TypeVar("Item")
Net = tuple[nn.Module, Tensor]


def lenet() -> Net:
    return lenet_300_100().eval(), torch.randn(1, 1, 28, 28)


def resnet() -> Net:
    return resnet20().eval(), torch.randn(1, 3, 32, 32)


def two_convolutions() -> Net:
    features = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(*features, *head).eval(), torch.randn(1, 3, 32, 32)


def inference(model: nn.Module, image: Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        model(image)

    return run


def slowed(run: Callable[[], None], wait_ns: int) -> Callable[[], None]:
    """The same function, then a busy wait: the processor stays as hot as it was. Both sides carry it, one waits 0."""

    def run_and_wait() -> None:
        run()
        end = time.perf_counter_ns() + wait_ns
        while time.perf_counter_ns() < end:
            pass

    return run_and_wait


def masked(model: nn.Module, seed: int) -> nn.Module:
    """A copy with 90 % of its weights at zero and every shape as it was."""
    draws = generator(seed, "mask")
    model = copy.deepcopy(model)
    with torch.no_grad():
        for weight in (parameter for parameter in model.parameters() if parameter.dim() > 1):
            weight.mul_(torch.rand(weight.shape, generator=draws) >= 0.9)
    return model


def compare(first: Callable[[], None], second: Callable[[], None], seed: int, *names: str | int) -> Timing:
    return time_interleaved([first, second], generator=generator(seed, *names))[1]


def judge(num_aa: int, num_slow: int, num_masked: int, seed: int) -> dict:
    """The comparisons take the nets in turn; a slowdown is set from the net's median of a moment before."""
    runs = [inference(*net) for net in (lenet(), two_convolutions())]
    same = [compare(run, run, seed, "aa", i) for i, run in _in_turn(runs, num_aa)]
    slow = []
    for i, run in _in_turn(runs, num_slow):
        wait_ns = round(SLOWDOWN * time_callable(slowed(run, 0), min_samples=300).median_ms * 1e6)
        slow.append(compare(slowed(run, 0), slowed(run, wait_ns), seed, "slow", i))
    masks = [
        compare(inference(model, image), inference(masked(model, seed + i), image), seed, "masked", i)
        for i, (model, image) in _in_turn([lenet(), resnet()], num_masked)
    ]
    claimed = sum(map(claims_difference, same))
    found = sum(claims_difference(timing) and (timing.ratio or 1) < 1 for timing in slow)
    worst = max((abs((timing.ratio or 1) - 1) for timing in masks), default=0.0)
    return {
        "aa": {"comparisons": num_aa, "claimed": claimed, **_spread(same)},
        "slowdown": {"injected": SLOWDOWN, "comparisons": num_slow, "found": found, **_spread(slow)},
        "masked": {"comparisons": num_masked, "worst_deviation": worst, **_spread(masks)},
        "passed": claimed <= 0.02 * num_aa and found >= 0.95 * num_slow and worst <= 0.03,
    }


def _in_turn(items: list[Item], count: int) -> list[tuple[int, Item]]:
    return [(i, items[i % len(items)]) for i in range(count)]


def _spread(timings: list[Timing]) -> dict[str, float]:
    """The middle of the ratios, the lowest and the highest, and how often the interval leaves out 1."""
    if not timings:
        return {}
    ratios = sorted(timing.ratio or 1 for timing in timings)
    excluding = sum((timing.ratio_low or 1) > 1 or (timing.ratio_high or 1) < 1 for timing in timings)
    return {
        "median_ratio": ratios[len(ratios) // 2],
        "lowest_ratio": ratios[0],
        "highest_ratio": ratios[-1],
        "intervals_excluding_1": excluding,
        "samples_each": min(timing.num_samples for timing in timings),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("aa", 500), ("slow", 100), ("masked", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    start = time.monotonic()
    verdict = judge(asked.aa, asked.slow, asked.masked, asked.seed)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    verdict["minutes"] = round((time.monotonic() - start) / 60, 2)
    print(json.dumps(verdict, indent=2))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
