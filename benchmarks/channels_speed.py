"""How much faster does a network get that lost whole channels, and does a latency target land?

python benchmarks/channels_speed.py [--model resnet44] [--weights DIR] [--out DIR] [--seconds 5] [--runtimes ...]

Needs DIR/cifar10_MODEL.safetensors, or takes random weights: they change no time. One thread.
1. The network with 50 % fewer multiply-adds, by scope and by the multiple that widths are rounded to: how many times
   faster than the dense one in every runtime at batch 1 and 64, all in turns in one run.
2. A target of 0.6x the dense time in ONNX Runtime at batch 64, then timed anew on freshly exported networks.
Bars: 50 % fewer multiply-adds >= 1.5x at batch 64 and >= 1.3x at batch 1 in ONNX Runtime; the target within .54 to .60.
Writes channels_speed.json into --out and prints tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.measure.latency import time_interleaved
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params
from prunelle.models.load import build
from prunelle.models.weights import fit_weights_, read_weights
from prunelle.prune.channel_select import over_all_sets, per_set
from prunelle.prune.channels import prune_channels
from prunelle.prune.latency_target import Clock, Target, plan_latency
from prunelle.seeds import generator
from prunelle.ship.runtimes import load_runtime

SCOPES = {"set": per_set, "global": over_all_sets}
BATCHES = (64, 1)
BARS = {64: 1.5, 1: 1.3}
RATIO, LANDS = 0.6, (0.54, 0.60)
Row = dict[str, Any]


def widths(model: nn.Module) -> list[int]:
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]


def images_of(batch: int) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=generator(0, "images"))


def cut_nets(model: nn.Module, asked: argparse.Namespace) -> tuple[list[nn.Module], list[Row]]:
    """With half the multiply-adds, by scope and multiple."""
    nets, rows = [], list[Row]()
    dense = count_macs(model, images_of(1)).total
    for scope in asked.scopes:
        for multiple in asked.multiples:
            net = prune_channels(model, images_of(1), asked.amount, of="macs", scope=SCOPES[scope], multiple=multiple)
            macs = count_macs(net, images_of(1)).total
            fewer = 1 - count_params(net).params / count_params(model).params
            rows.append({"scope": scope, "multiple": multiple, "macs_fewer": 1 - macs / dense, "macs_x": dense / macs})
            rows[-1] |= {"params_fewer": fewer, "widths": widths(net)}
            nets.append(net)
    return nets, rows


def add_speeds_(rows: list[Row], model: nn.Module, nets: list[nn.Module], asked: argparse.Namespace) -> None:
    """Write into each row how many times faster than the dense model its network is."""
    for runtime in asked.runtimes:
        for batch in BATCHES:
            images = images_of(batch)
            runs = [partial(load_runtime(runtime)(net, images, 1), images) for net in (model, *nets)]
            dense, *timings = time_interleaved(runs, threads=1, min_seconds=asked.seconds)
            for row, timing in zip(rows, timings, strict=True):
                row[f"{runtime}_batch{batch}_x"] = timing.ratio
                row[f"{runtime}_batch{batch}_low"], row[f"{runtime}_batch{batch}_high"] = (
                    timing.ratio_low,
                    timing.ratio_high,
                )
                row[f"{runtime}_batch{batch}_ms"] = timing.median_ms
                row[f"{runtime}_batch{batch}_dense_ms"] = dense.median_ms
            told = [f"{row['scope']} {row['multiple']}: {row[f'{runtime}_batch{batch}_x']:.2f}x" for row in rows]
            print(f"{runtime}, batch {batch}: {', '.join(told)}", file=sys.stderr, flush=True)


def target(model: nn.Module, asked: argparse.Namespace) -> Row:
    """Where a latency target lands, timed anew."""
    runtime, images = load_runtime("onnxruntime"), images_of(64)
    found = plan_latency(model, Target(ratio=RATIO), Clock(runtime, images, confirm_seconds=asked.seconds))
    net = found.plan.apply(model)
    runs = [partial(runtime(each, images, 1), images) for each in (model, net)]
    timing = time_interleaved(runs, threads=1, min_seconds=asked.seconds)[1]
    assert timing.ratio is not None and timing.ratio_low is not None and timing.ratio_high is not None
    share = count_macs(net, images_of(1)).total / count_macs(model, images_of(1)).total
    row = {"ratio": 1 / timing.ratio, "low": 1 / timing.ratio_high, "high": 1 / timing.ratio_low, "macs_left": share}
    return {**row, "widths": widths(net), "looks": found.rows(), "met": LANDS[0] <= row["ratio"] <= LANDS[1]}


def print_table(rows: list[Row]) -> None:
    """In Markdown."""
    names = [name for name in rows[0] if name.endswith(("_x", "_fewer")) or name in ("scope", "multiple")]
    print("\n| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(f"{row[n]:.3g}" if isinstance(row[n], float) else str(row[n]) for n in names) + " |")


def met(rows: list[Row]) -> bool:
    """Whether one of the networks passes all bars."""
    return any(all(row.get(f"onnxruntime_batch{b}_x", 0) >= bar for b, bar in BARS.items()) for row in rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0]
    parser.add_argument("--model", default="resnet44")
    parser.add_argument("--weights", type=Path, default=Path(data) / "weights")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--amount", type=float, default=0.5, help="share of the multiply-adds that goes")
    parser.add_argument("--scopes", nargs="+", default=["set", "global"])
    parser.add_argument("--multiples", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing a network and runtime, at least")
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "eager", "compile"])
    parser.add_argument("--without-target", action="store_true")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build(asked.model).eval()
    path = asked.weights / f"cifar10_{asked.model}.safetensors"
    if path.exists():
        fit_weights_(model, read_weights(path), str(path))
    nets, rows = cut_nets(model, asked)
    add_speeds_(rows, model, nets, asked)
    print_table(rows)
    found: Row = {"model": asked.model, "rows": rows, "met": met(rows)}
    found["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    if not asked.without_target:
        found["target"] = target(model, asked)
        told = {name: value for name, value in found["target"].items() if name not in ("looks", "widths")}
        print(f"\ntarget {RATIO}: {told}")
        found["met"] = found["met"] and found["target"]["met"]
    out = asked.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    (out / "channels_speed.json").write_text(json.dumps(found, indent=1))
    print(f"\nwritten to {out}; bars {'met' if found['met'] else 'missed'}")
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
