"""ResNet-44 on CIFAR-10 into class-wise members: is the joint answer as good, and does one image come sooner?

python benchmarks/classwise.py [--weights DIR] [--groups 2 5 10] [--epochs N] [--lr F] [--shared-macs F]
    [--shared-epochs N] [--shared-lr F] [--as-one] [--precision bf16] [--out DIR] [--data-dir D] [--json FILE]

DIR: holds cifar10_resnet44.safetensors, a trained network. 2 and 5 groups at most at half of the multiply-adds a
member, 10 members of one class at .3. The bars: within 1 point of the whole network (10 members: 2), each member within
its share; one image with 2 groups at least 1.5 times as fast as the whole network with 2 threads in one runtime; beside
them one network for all classes cut to the same size (--as-one). Choices are made on the first half of the test split,
figures are of the second. In bf16, 2 groups with --as-one took an hour beside other work, 5 groups with 10 epochs 80
minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prunelle.engines.local import num_cores
from prunelle.measure.environment import environment
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwise_told import summary, tell, write_files
from prunelle.recipes.classwising import Asked, run_classwise
from prunelle.recipes.settings import Training

SHARE = {2: 0.5, 5: 0.5, 10: 0.3}
POINTS = {2: 1.0, 5: 1.0, 10: 2.0}
FASTER = 1.5


def training(options: argparse.Namespace, epochs: int | None, lr: float) -> Training:
    return Training(
        epochs=epochs or options.epochs,
        lr=lr,
        optimizer="sgd",
        weight_decay=1e-4,
        precision=options.precision,
        distill=0.9,
    )


def recipe(options: argparse.Namespace, groups: int) -> ClasswiseRecipe:
    return ClasswiseRecipe(
        name=f"resnet44 into {groups}",
        model="resnet44",
        data="cifar10",
        weights=str(options.weights / "cifar10_resnet44.safetensors"),
        groups=groups,
        target_macs=SHARE[groups],
        multiple=4,
        shared_macs=options.shared_macs if groups == 10 else None,
        shared_training=training(options, options.shared_epochs, options.shared_lr)
        if groups == 10 and options.shared_macs
        else None,
        as_one=options.as_one and groups == 2,
        choose_on="test-half",
        training=training(options, options.epochs, options.lr),
        runtimes=("eager", "native", "onnxruntime") if groups == 2 else ("eager",),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--groups", nargs="*", type=int, choices=SHARE, default=list(SHARE))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.02, help="of members, at first")
    parser.add_argument("--shared-macs", type=float, help="for 10 members: cut and train one for all classes first")
    parser.add_argument("--shared-epochs", type=int, help="of that network's training; else --epochs")
    parser.add_argument("--shared-lr", type=float, default=0.02, help="of that network, at first")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--as-one", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-dir", default=data or None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.shared_epochs and not options.shared_macs:
        parser.error("--shared-epochs is of the network that --shared-macs asks for; set both")
    out = options.out or Path(tempfile.mkdtemp())
    rows = [one(options, groups, out / str(groups)) for groups in options.groups]
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "environment": environment()}, indent=1))
    return 0 if all(row["met"] for row in rows) else 1


def one(options: argparse.Namespace, groups: int, out: Path) -> dict[str, Any]:
    """Split, tell, and hold against the bars."""
    told = recipe(options, groups)
    asked = Asked(out, min(2, num_cores()), data_dir=options.data_dir, command=" ".join(sys.argv))
    begun = time.monotonic()
    split = run_classwise(told, asked, lambda what, share: None)
    found = tell(split, asked, lambda what, share: None)
    write_files(split, found, asked)
    whole, both = found["whole"], found["combined"]
    lost = 100 * (whole["top1"] - both["top1"])
    shares = [row["macs_share"] for row in found["members"]]
    faster = {row["runtime"]: row["ratio"] for row in found["speed"] if row["what"] == "members side by side"}
    met = lost <= POINTS[groups] and max(shares) <= SHARE[groups]
    if groups == 2:
        met = met and max(faster.values(), default=0.0) >= FASTER
    print(
        f"{groups} groups, {options.epochs} epochs, {(time.monotonic() - begun) / 60:.1f} minutes: "
        f"{100 * both['top1']:.2f} % of {both['num_test']:,} (whole {100 * whole['top1']:.2f} %, {lost:+.2f} points "
        f"lost); member MACs {min(shares):.3f} to {max(shares):.3f}x, all {both['macs'] / whole['macs']:.2f}x, params "
        f"{both['params'] / whole['params']:.2f}x: {'met' if met else 'MISSED'}"
    )
    for sentence in summary(found):
        print(f"  {sentence}")
    for row in found["speed"]:
        if row["ms"] is not None:
            ratio = (
                "" if row["ratio"] is None else f"{row['ratio']:.2f}x [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"
            )
            print(f"  {row['runtime']:12} {row['what']:34} {row['ms']:.3f} ms  {ratio}")
    sys.stdout.flush()
    return {"groups": groups, "met": met, "lost": lost, "faster": faster} | {
        name: found[name] for name in ("whole", "combined", "members", "one", "shared", "speed", "confusion")
    }


if __name__ == "__main__":
    sys.exit(main())
