"""How much faster is the native library than what else runs on this machine?

python benchmarks/native_speed.py FOLDER[=DENSE] ... [--data D] [--data-dir D] [--layers] [--json FILE]
python benchmarks/native_speed.py --shapes mobilenet_v2 resnet50 [--zeros 0.9] [--layers] [--json FILE]

FOLDER is a saved sparse network (benchmarks/sparse_nets.py makes them); DENSE, its network before pruning, is what
OpenVINO runs in bfloat16 (without: the sparse one, which takes it the same time). top1 is told on the second half of
the test split (never chosen on), for PyTorch and for what the library itself answers. --shapes: random weights, of
which the share --zeros is zero at random in every layer but the first and the depthwise ones; 224 x 224 noise.
`bound` is the library called on buffers fixed beforehand (`Native.bind`): one foreign call and no tensor made.
Batch 1, one thread, all interleaved in one run, medians over at least 1,000 calls (or 5 seconds each at 224); the
ratios are paired, with 95 % intervals. --layers: where the time goes, beside the fastest that one core can multiply.
Bars: lenet5 at 92 % zeros 40x eager and 11x ONNX Runtime; lenet_300_100 9x eager, 14x in 16 bits; resnet20 at 90 %
16x eager, 5x ONNX Runtime, 1.1x OpenVINO bf16, 34x and 2.2x in 16 bits; at 80 % 10x, at 95 % 24x; dense within 1.1x of
ONNX Runtime; shapes at 224 3x ONNX Runtime: exits 1 below that, the others are to be read off. Without arguments: both
shapes, about 15 minutes, most of it compiling.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.data.load import load_task
from prunelle.measure.environment import environment
from prunelle.measure.latency import time_callable, time_interleaved
from prunelle.measure.rounds import Call
from prunelle.models.open import open_model
from prunelle.seeds import generator
from prunelle.ship.eager import eager
from prunelle.ship.native import build_native, load_native
from prunelle.ship.native_profile import profile_native
from prunelle.ship.onnx import onnxruntime
from prunelle.ship.openvino import openvino

Run = Callable[[Tensor], Tensor]
HALF = 5000
SHAPES_BAR = 3.0
CALIBRATION = 512


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER[=DENSE]")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", default=os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0] or None)
    parser.add_argument("--shapes", nargs="*", default=[])
    parser.add_argument("--zeros", type=float, default=0.9)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not asked.folders and not asked.shapes:
        asked.shapes = ["mobilenet_v2", "resnet50"]
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for words in asked.folders:
        folder, _, dense = words.partition("=")
        found.append(trained(folder, dense, asked))
    found += [shape(name, asked) for name in asked.shapes]
    for one in found:
        tell(one)
    if asked.json:
        asked.json.write_text(json.dumps({"networks": found, "environment": environment()}, indent=1, default=str))
    return 0 if all(fast_enough(one) for one in found if one["name"].endswith(" at 224")) else 1


def fast_enough(one: dict[str, Any]) -> bool:
    """Whether the faster library of a network at 224 keeps its bar; those of saved folders depend on what was saved."""
    rows = (row for row in one["rows"] if row["to"] == "onnxruntime fp32" and row["name"].startswith("native"))
    return max(row["ratio"] for row in rows) >= SHAPES_BAR


def trained(folder: str, dense: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A saved network, with its accuracy."""
    task = load_task(asked.data, data_dir=asked.data_dir)
    model, other = open_model(folder).model.eval(), open_model(dense or folder).model.eval()
    images, labels = (torch.cat(parts) for parts in zip(*task.test.epoch(500), strict=True))
    images, labels = images[HALF:], labels[HALF:]
    calibration = torch.cat([batch[0] for _, batch in zip(range(2), task.train.epoch(CALIBRATION // 2), strict=False)])
    with tempfile.TemporaryDirectory() as place:
        libraries = build(model, images[:1], calibration, Path(place))
        with torch.inference_mode():
            expected = torch.cat([model(part) for part in images.split(250)])
        answers = {"eager": expected, **{name: net(images) for name, net in libraries.items()}}
        accuracy = {name: 100 * float((out.argmax(1) == labels).float().mean()) for name, out in answers.items()}
        same = {
            name: 100 * float((out.argmax(1) == expected.argmax(1)).float().mean()) for name, out in answers.items()
        }
        rows = race(model, other, images[:1].contiguous(), libraries, 1000)
        layers = layer_rows(Path(place), images[:1]) if asked.layers else []
    return {"name": folder, "top1": accuracy, "equal": same, "rows": rows, "layers": layers, **counts(model)}


def shape(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A network of random weights at 224 x 224."""
    model, draws = open_model(name).model.eval(), generator(0, "native_speed")
    image = torch.randn(1, 3, 224, 224, generator=draws)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers[1:]:
            if getattr(layer, "groups", 1) == 1:
                kept = torch.rand(layer.weight.shape, generator=draws) >= asked.zeros
                layer.weight.mul_(kept).div_(max(1 - asked.zeros, 1e-3) ** 0.5)
    calibration = torch.cat([image, torch.randn(15, 3, 224, 224, generator=draws)])
    with tempfile.TemporaryDirectory() as place:
        libraries = build(model, image, calibration, Path(place))
        with torch.inference_mode():
            expected = model(image)
        off = {n: float((net(image) - expected).abs().max() / expected.abs().max()) for n, net in libraries.items()}
        rows = race(model, model, image, libraries, 1000, int8=calibration)
        layers_found = layer_rows(Path(place), image) if asked.layers else []
    return {"name": f"{name} at 224", "off": off, "rows": rows, "layers": layers_found, **counts(model)}


def build(model: nn.Module, example: Tensor, calibration: Tensor, place: Path) -> dict[str, nn.Module]:
    libraries = {}
    for precision in ("fp32", "int16"):
        build_native(model, example, place / precision, precision=precision, calibration=calibration)
        libraries[f"native {precision}"] = load_native(place / precision)
    return libraries


def race(
    model: nn.Module, dense: nn.Module, image: Tensor, libraries: dict[str, nn.Module], calls: int,
    int8: Tensor | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every runtime in turns; ratios to eager, ONNX Runtime and OpenVINO bf16, each as the first of its own summary."""
    runs: dict[str, Run] = {
        "eager": eager(model, image, 1),
        "onnxruntime fp32": onnxruntime(model, image, 1),
        "openvino bf16, dense": openvino(dense, image, 1, "bf16"),
        **libraries,
    }
    if int8 is not None:
        runs["openvino int8, dense"] = openvino(dense, image, 1, "int8", int8)
    calls_of: dict[str, Call] = {name: partial(run, image) for name, run in runs.items()}
    for name, net in libraries.items():
        calls_of[f"{name}, bound"] = net.bind(image, torch.empty(1, *net.output_shape))  # type: ignore[operator]
    rows = []
    for first in ("eager", "onnxruntime fp32", "openvino bf16, dense"):
        names = [first, *(n for n in calls_of if n.startswith("native") or (first == "eager" and n != first))]
        timings = time_interleaved([calls_of[n] for n in names], min_samples=calls)
        for name, timing in zip(names, timings, strict=True):
            about = {"to": first, "name": name, "median_us": 1e3 * timing.median_ms, "samples": timing.num_samples}
            rows.append(about | {"ratio": timing.ratio, "low": timing.ratio_low, "high": timing.ratio_high})
    return rows


def counts(model: nn.Module) -> dict[str, float]:
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return {"zeros": sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)}


def peak() -> float:
    """Multiply-adds a microsecond of fp32 that one core reaches on a matrix product that stays in its cache."""
    a, b, out = (torch.rand(192, 192) for _ in range(3))
    timing = time_callable(lambda: torch.mm(a, b, out=out), min_seconds=1.0)
    return 192**3 / timing.median_ms / 1e3


def layer_rows(place: Path, image: Tensor) -> list[dict[str, Any]]:
    """Layer by layer in fp32: microseconds, speed, share of the peak."""
    most = peak()
    return [
        {"layer": layer, "kernel": kernel, "us": us, "macs": macs, "dense_macs": dense, "share": macs / us / most}
        for layer, kernel, us, dense, macs in profile_native(place / "fp32", image, 50)
    ]


def tell(one: dict[str, Any]) -> None:
    print(f"\n{one['name']}: {100 * one['zeros']:.1f} % of the weights are zero")
    for word in ("top1", "equal", "off"):
        if word in one:
            print(f"  {word}: " + ", ".join(f"{name} {value:.4g}" for name, value in one[word].items()))
    for row in one["rows"]:
        ratio = f"{row['ratio']:6.2f}x [{row['low']:.2f}, {row['high']:.2f}]" if row["ratio"] else ""
        print(f"  to {row['to']:22} {row['name']:22} {row['median_us']:10.1f} us {ratio} ({row['samples']} calls)")
    for row in one["layers"]:
        print(f"    {row['layer']:28} {row['kernel']:24} {row['us']:8.1f} us {100 * row['share']:5.1f} % of the peak")


if __name__ == "__main__":
    sys.exit(main())
