"""Does `prunelle ship --format auto` ship the fastest?

python benchmarks/auto.py [MODEL[=DATA] ...] [--data-dir D] [--weights W] [--out DIR] [--bar 1.03]

Each network is shipped by auto, and every format and precision that passes the gate is shipped by itself; then all of
them are timed in turns by `prunelle bench` in a new process, batch 1, one thread. A MODEL is a word or a saved folder;
default are six: LeNets on MNIST with 92 % zeros after an epoch, ResNet-20 and 44 from W/cifar10_MODEL.safetensors as
they are and with 90 % zeros in one shot, MobileNetV2 at 224 with random weights, 90 % of each layer zeros, judged on
noise. Forty minutes beside other work.
Bar: the time of what auto shipped is at most --bar times the time of the fastest, on every network. Writes auto.json
into --out and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunelle.data.load import load_task
from prunelle.measure.params import prunable
from prunelle.models.open import open_model
from prunelle.models.save import save
from prunelle.prune.by_weight import magnitude
from prunelle.prune.masks import zero_
from prunelle.prune.select import Scope, over_all, per_layer
from prunelle.recipes.ship import describe, sizes_before
from prunelle.recipes.shipping import Asked, subject
from prunelle.runs import Run
from prunelle.ship.candidates import make_all
from prunelle.ship.shipped import read_shipped, write_shipped
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

SIX = (
    ("lenet_300_100", 0.92, "mnist"),
    ("lenet5", 0.92, "mnist"),
    ("resnet20", 0.0, "cifar10"),
    ("resnet20", 0.9, "cifar10"),
    ("resnet44", 0.9, "cifar10"),
    ("mobilenet_v2", 0.9, None),
)
Row = dict[str, Any]


def zeroed(model: nn.Module, sparsity: float, scope: Scope = over_all) -> nn.Module:
    """In place: the smallest weights at zero, of the whole network or as `scope` says."""
    weights = prunable(model)
    zero_(weights, scope({name: magnitude(weight) for name, weight in weights.items()}, sparsity))
    return model


@torch.no_grad()
def wake_(model: nn.Module) -> None:
    """Random weights of which most are zero give every image the same output, which no gate lets pass: batch norm
    measured on noise brings the differences back."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(torch.randn(32, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    model.eval()


def made(name: str, sparsity: float, data: str | None, asked: argparse.Namespace, folder: Path) -> str:
    """One of SIX as a saved folder."""
    file = asked.weights / f"cifar10_{name}.safetensors"
    opened = open_model(name, weights=file if data == "cifar10" else None)
    model, preprocessing = opened.model, None
    if data == "mnist":
        task = load_task(data, data_dir=asked.data_dir)
        train = Train(TrainSettings(1, 1e-3, optimizer=Adam()))
        model, preprocessing = train(model, task, Run.open(folder / "run", {"net": name}, 0)), task.preprocessing
    if data is None:
        wake_(zeroed(model, sparsity, per_layer))
    else:
        zeroed(model, sparsity).eval()
    save(model, folder / "net", builder=opened.builder, cuts=opened.cuts, preprocessing=preprocessing)
    return str(folder / "net")


def ship_each(model: str, data: str | None, asked: argparse.Namespace, folder: Path) -> list[str]:
    """Every candidate that passes the gate, as a shipped folder of its own."""
    words = Asked(model, "auto", data=data)
    what = subject(words, asked.data_dir, trust=True)
    folder.mkdir(parents=True)
    sizes = sizes_before(model, what, folder)
    dense = sizes["dense_safetensors"]
    assert dense is not None
    found = []
    for one in make_all(what.order, folder, what.exam, 1, dense):
        print(f"  {one.name}: {one.why or one.status}", file=sys.stderr, flush=True)
        if one.status == "fit":
            write_shipped(describe(words, what, one, [one], None, sizes), one.folder)
            found.append(str(one.folder))
    return found


def prunelle(*words: str) -> Any:
    """What a command prints as JSON, in a process of its own."""
    line = [sys.executable, "-m", "prunelle", *words, "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def study(name: str, model: str, data: str | None, asked: argparse.Namespace, folder: Path) -> Row:
    """What auto shipped, and how far from the fastest it is when all are timed again."""
    told = ["--data", data] if data else []
    told += ["--data-dir", asked.data_dir] if asked.data_dir else []
    prunelle("ship", model, "--format", "auto", "--out", str(folder / "auto"), "--threads", "1", *told)
    shipped = read_shipped(folder / "auto")
    each = ship_each(model, data, asked, folder / "each")
    timed = prunelle("bench", str(folder / "auto"), *each, "--trust", "--threads", "1", *told)["artefacts"]
    best = max(timed[1:], key=lambda row: row["ratio"])
    row = {
        "network": name,
        "shipped": f"{shipped.format} {shipped.precision}",
        "tied": [row.name for row in shipped.table if row.tied],
        "median_ms": timed[0]["median_ms"],
        "fastest": Path(best["name"]).name,
        "behind": best["ratio"],
        "behind_low": best["ratio_low"],
        "behind_high": best["ratio_high"],
        "all": {Path(one["name"]).name: one["median_ms"] for one in timed},
    }
    print(row, file=sys.stderr, flush=True)
    return row


def print_table(rows: list[Row]) -> None:
    """In Markdown: a line a network."""
    print("| network | auto ships | ms | fastest when timed again | times as fast as what auto shipped |")
    print("|---|---|---|---|---|")
    for row in rows:
        spread = f"{row['behind']:.3f} ({row['behind_low']:.3f} to {row['behind_high']:.3f})"
        print(f"| {row['network']} | {row['shipped']} | {row['median_ms']:.4g} | {row['fastest']} | {spread} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("models", nargs="*", metavar="MODEL[=DATA]")
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--bar", type=float, default=1.03)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out = asked.out or Path(tempfile.mkdtemp())
    rows = []
    wanted: list[tuple[str, float, str | None]] = [(*one.partition("=")[::2],) for one in asked.models] or list(SIX)  # type: ignore[misc]
    for number, one in enumerate(wanted):
        folder = out / str(number)
        folder.mkdir(parents=True)
        if len(one) == 2:
            name, model, of = one[0], one[0], one[1] or None
        else:
            name, of = f"{one[0]}, {one[1]:.0%} zeros", one[2]
            model = made(*one, asked, folder)
        rows.append(study(name, model, of, asked, folder))
    met = all(row["behind"] <= asked.bar for row in rows)
    (out / "auto.json").write_text(json.dumps({"rows": rows, "met": met}, indent=1))
    print_table(rows)
    print(f"\nwritten to {out}; bar {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
