"""Does it matter which classes go together? Groupings of CIFAR-10 for ResNet-20 against groups drawn at random.

python benchmarks/classwise_grouping.py [--weights DIR] [--seeds 5] [--precision bf16] [--out DIR] [--data-dir D]
    [--json FILE]

DIR: holds cifar10_resnet20.safetensors, a trained network. 2 groups at half of the multiply-adds a member, 10,000
training images, 3 epochs. Tells for each heuristic (most similar, least similar, balanced k-means) the gain over
random with its 95 % interval, paired by seed; whether it holds 0 is the finding, not a bar. Choices on the first half
of the test split, figures of the second. About 75 minutes on one core in fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from prunelle.engines.local import num_cores
from prunelle.measure.environment import environment
from prunelle.recipes.classwise_resnet20 import classwise_resnet20
from prunelle.recipes.classwise_told import summary, tell, write_files
from prunelle.recipes.classwising import Asked, run_classwise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-dir", default=data or None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    weights = str(options.weights / "cifar10_resnet20.safetensors")
    recipe = classwise_resnet20(
        weights=weights,
        groupings=("random", "similar", "dissimilar", "kmeans"),
        seeds=options.seeds,
        epochs=options.epochs,
        precision=options.precision,
        choose_on="test-half",
    )
    out = options.out or Path(tempfile.mkdtemp())
    asked = Asked(out, min(2, num_cores()), data_dir=options.data_dir, command=" ".join(sys.argv))
    split = run_classwise(recipe, asked, lambda what, share: None)
    found = tell(split, asked, lambda what, share: None)
    write_files(split, found, asked)
    for row in found["groupings"]:
        gain = "" if row["gain"] is None else (
            f", against random {100 * row['gain']:+.2f} [{100 * row['gain_low']:+.2f}, {100 * row['gain_high']:+.2f}]"
        )  # fmt: skip
        print(f"{row['grouping']:12} {100 * row['mean']:.2f} % [{100 * row['low']:.2f}, {100 * row['high']:.2f}]{gain}")
    for sentence in summary(found):
        print(sentence)
    print(out / "report.html")
    if options.json:
        told = {name: found[name] for name in ("groupings", "trials", "whole", "combined")}
        options.json.write_text(json.dumps(told | {"environment": environment()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
