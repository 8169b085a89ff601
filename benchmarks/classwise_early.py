"""What early stopping saves, and what it costs: members trained to the end beside members that may leave.

python benchmarks/classwise_early.py [--weights DIR] [--seeds 0 1 2] [--precision bf16] [--out DIR] [--data-dir D]
    [--json FILE]

DIR: holds cifar10_resnet20.safetensors, a trained network. ResNet-20 into 5 random groups, 10,000 training images, the
preset of `prunelle classwise` in bf16: at most 10 epochs, patience 2. Both sides share seeds, groups and the order of
images. The bar: at least 30 % of member-epochs saved at a loss of at most 0.2 points, mean over the seeds. Choices on
the first half of the test split, figures of the second. About 30 minutes on 2 quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from prunelle.engines.local import num_cores
from prunelle.measure.environment import environment
from prunelle.measure.intervals import interval
from prunelle.recipes.classwise import RETRAINING, ClasswiseRecipe
from prunelle.recipes.classwise_figures import saved
from prunelle.recipes.classwising import Asked, run_classwise

SAVED, LOST = 0.3, 0.002
TO_THE_END = {"patience": None, "min_gain": 0.0}


def recipe(weights: str, seeds: Sequence[int], may_leave: bool, precision: str) -> ClasswiseRecipe:
    return ClasswiseRecipe(
        name="may leave" if may_leave else "to the end",
        model="resnet20",
        data="cifar10",
        weights=weights,
        groups=5,
        groupings=("random",),
        seeds=tuple(seeds),
        train_images=10_000,
        choose_on="test-half",
        training=RETRAINING.model_copy(update={"precision": precision} | ({} if may_leave else TO_THE_END)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-dir", default=data or None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    weights = str(options.weights / "cifar10_resnet20.safetensors")
    out = options.out or Path(tempfile.mkdtemp())
    found = {}
    for name, may_leave in (("to the end", False), ("may leave", True)):
        told = recipe(weights, options.seeds, may_leave, options.precision)
        asked = Asked(out / name.replace(" ", "-"), min(2, num_cores()), data_dir=options.data_dir)
        found[name] = run_classwise(told, asked, lambda what, share: None).trials
    costs = [full.top1 - early.top1 for full, early in zip(found["to the end"], found["may leave"], strict=True)]
    left_out = saved(found["may leave"])
    assert left_out is not None
    low, cost, high = interval(costs)
    for name, trials in found.items():
        top1 = [100 * one.top1 for one in trials]
        print(f"{name}: {', '.join(f'{one:.2f} %' for one in top1)}, mean {mean(top1):.2f} %")
    met = left_out["share"] >= SAVED and cost <= LOST
    print(
        f"{left_out['share']:.1%} of member-epochs saved; {100 * cost:+.2f} points lost [{100 * low:+.2f}, "
        f"{100 * high:+.2f}]; the bar is {SAVED:.0%} at {100 * LOST:.1f}: {'met' if met else 'MISSED'}"
    )
    if options.json:
        told = {"saved": left_out, "costs": costs, "met": met, "environment": environment()}
        options.json.write_text(json.dumps(told, indent=1))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
