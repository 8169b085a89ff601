"""Does the C file compute what the network computes? Every named network and seven of timm's, 90 % of weights zero.

python benchmarks/native_parity.py [--models lenet5 timm:vgg11_bn ...] [--out FILE]

Random weights, batch norms with random statistics too; batch 1, fp32, the kernels that come first (nothing is timed, so
the seconds are those of writing and compiling). Prints a line a network and JSON, and exits 1 when a bar is missed.
Bar: the largest difference is at most 1e-4 of the largest output.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from prunelle.models.load import build
from prunelle.models.names import TABLE
from prunelle.seeds import generator
from prunelle.ship.c_plan import plan_c
from prunelle.ship.c_source import run_function, write_c
from prunelle.ship.compiler import compile_c, target_of
from prunelle.ship.native import library_module

TIMM = ("mobilenetv3_small_100", "efficientnet_b0", "tf_efficientnet_b0", "regnety_002", "regnetx_002", "vgg11_bn")
TIMM += ("densenet121",)
BAR = 1e-4


def randomise_(net: nn.Module, seed: int) -> None:
    """Nine weights in ten zero, the rest scaled so that signals neither die nor grow; statistics of their own."""
    draws = generator(seed, "weights")
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight, inputs = module.weight, module.weight[0].numel()
                kept = torch.rand(weight.shape, generator=draws) < 0.1
                weight.copy_(torch.randn(weight.shape, generator=draws) * (2 / max(0.1 * inputs, 1)) ** 0.5 * kept)
                if module.bias is not None:
                    module.bias.copy_(torch.randn(module.bias.shape, generator=draws) * 0.1)
            elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                assert module.running_mean is not None and module.running_var is not None
                for values, middle in ((module.running_mean, 0.0), (module.bias, 0.0)):
                    values.copy_(middle + 0.1 * torch.randn(values.shape, generator=draws))
                for values in (module.running_var, module.weight):
                    values.copy_(0.75 + 0.5 * torch.rand(values.shape, generator=draws))


def measured(name: str) -> dict[str, float | str | bool]:
    """Error as a share of the largest output, seconds of writing and compiling, megabytes."""
    net = build(name).eval()
    randomise_(net, 0)
    example: Tensor = torch.randn(1, *shape_of(name), generator=generator(0, "image"))
    machine, start = target_of("native"), time.monotonic()
    plan = plan_c(net, example, machine.vector_bytes, machine.registers)
    source = write_c(plan, "net", {}, run_function)
    written = time.monotonic()
    library = compile_c(source, machine, ("net_run",))
    compiled = time.monotonic()
    run = library_module(source, "net", plan, machine)
    with torch.inference_mode():
        expected, found = net(example), run(example)
    error = float((found - expected).abs().max() / expected.abs().max())
    return {
        "model": name, "error": error, "passed": bool(error <= BAR),
        "spread": float(expected.std() / expected.abs().max()),
        "write_s": round(written - start, 1), "compile_s": round(compiled - written, 1),
        "source_mb": round(len(source) / 1e6, 1), "library_mb": round(library.stat().st_size / 1e6, 2),
        "workspace_mb": round(plan.workspace_bytes / 1e6, 2),
        "children_peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3),
    }  # fmt: skip


def shape_of(name: str) -> tuple[int, int, int]:
    return TABLE[name].input_shape if name in TABLE else (3, 224, 224)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[*TABLE, *(f"timm:{name}" for name in TIMM)])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in asked.models:
        rows.append(measured(name))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    text = json.dumps({"bar": BAR, "torch": torch.__version__, "networks": rows}, indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
