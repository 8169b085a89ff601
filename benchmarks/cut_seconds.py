"""How long a cut takes, and how much of it is the trace: ResNet-50, DenseNet-121, ViT-tiny.

python benchmarks/cut_seconds.py [--repeats 3] [--json FILE]

Seconds of torch.export alone and of all of prune_channels at half the channels, one after the other in turn, in one
process on one thread after a warm-up. Prints JSON, and exits 1 when a median is over 3, 8 and 3 s.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from prunelle.models.timm_zoo import build_timm
from prunelle.prune.channels import prune_channels

MOST_S = {"resnet50": 3.0, "densenet121": 8.0, "vit_tiny_patch16_224": 3.0}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.no_grad()
def timed(model: nn.Module, image: torch.Tensor, repeats: int) -> dict[str, dict[str, float]]:
    """Both times, taken in turn."""
    traces, cuts = [], []
    for _ in range(repeats):
        traces.append(seconds(lambda: torch.export.export(model, (image,), strict=False)))
        cuts.append(seconds(lambda: prune_channels(model, image, amount=0.5)))
    return {"export_s": spread(traces), "cut_s": spread(cuts)}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warm = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()
    timed(warm, torch.zeros(1, 3, 4, 4), 1)
    found: dict = {}
    for name in MOST_S:
        torch.manual_seed(0)
        found[name] = timed(build_timm(name).eval(), torch.randn(1, 3, 224, 224), asked.repeats)
        found[name]["most_s"] = MOST_S[name]
    verdict = {
        "models": found,
        "passed": all(found[name]["cut_s"]["median"] <= most for name, most in MOST_S.items()),
        "environment": {"torch": torch.__version__, "machine": platform.machine(), "threads": 1},
    }
    text = json.dumps(verdict, indent=1)
    if asked.json:
        asked.json.write_text(text + "\n")
    print(text)
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
