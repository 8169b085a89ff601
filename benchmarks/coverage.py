"""Does it work on my model? 40 families of timm cut at half their channels, each checked against itself.

python benchmarks/coverage.py [NAME ...] [--workers 1] [--timeout 180] [--seed 0] [--no-onnx] [--json FILE]

NAME: any models of timm in place of those in coverage_timm.txt. Every parameter and buffer is drawn first. Each model
is built in a process of its own, on one thread, and a line is printed when it is done. It counts as pruned when at most
.8 of its MACs are left; its outputs differ over images, and equal those of the dense network with the removed channels
at 0 to 1e-10 of the largest in float64 (1e-6 where the network itself computes in float32, by the operators named);
saved and loaded it is the same bit for bit; gradients are finite; another batch size works; ONNX Runtime agrees, where
listed. Prints JSON and exits 1 unless at least 95 % are pruned, at most .55 of the MACs are left in the median, and
cutting takes at most 3 times one trace in the median and never over 60 s. About 20 minutes.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "graph"))

import torch

LIST = Path(__file__).with_name("coverage_timm.txt")
LEAST_PRUNED, MEDIAN_MACS, MEDIAN_CUT, MOST_CUT_S = 0.95, 0.55, 3.0, 60.0


def listed() -> dict[str, tuple[tuple[int, int, int], bool]]:
    """name -> (input shape, whether ONNX Runtime is compared)."""
    found = {}
    for line in LIST.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, shape, *more = line.split()
            found[name] = (tuple(map(int, shape.split(","))), "onnx" in more)
    return found


def look_at(name: str, asked: argparse.Namespace) -> dict:
    """The row of one model, from a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--seed", str(asked.seed), "--amount", str(asked.amount)]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command + ["--no-onnx"] * asked.no_onnx, capture_output=True, text=True, timeout=asked.timeout
        )
        row = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        row = {"model": name, "problems": [f"not done after {asked.timeout} s"]}
    except (IndexError, ValueError):
        row = {"model": name, "problems": [f"exit {done.returncode}: {done.stderr[-500:]}"]}
    row["seconds"] = round(time.monotonic() - start, 1)
    return row


def one(name: str, asked: argparse.Namespace) -> None:
    """What the process of one model does: print its row."""
    from structured.timm_model import look

    from prunelle.models.timm_zoo import default_shape

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    shape, with_onnx = listed().get(name) or (default_shape(name), False)
    print(json.dumps(look(name, shape, asked.seed, asked.amount, with_onnx and not asked.no_onnx)), flush=True)


def line(row: dict) -> str:
    """One model in a line."""
    if "macs_share" not in row:
        return f"{row['model']:32} {row['seconds']:6.1f} s  {'; '.join(row['problems'])[:300]}"
    figures = f"MACs {row['macs_share']:.3f}  cut {row['cut_s']:5.2f} s = {row['cut_per_export']:4.2f} traces"
    error = f"err {row.get('max_rel_err', float('nan')):.1e}  spread {row.get('spread', float('nan')):.1e}"
    problems = "; ".join(row["problems"])[:300] or "pruned"
    return f"{row['model']:32} {row['seconds']:6.1f} s  {figures}  {error}  {problems}"


def summary(rows: list[dict]) -> dict:
    pruned = [row for row in rows if not row["problems"]]
    timed = [row for row in rows if "cut_per_export" in row]
    shares = [row["macs_share"] for row in pruned]
    found = {
        "models": len(rows),
        "pruned": len(pruned),
        "median_macs_share": statistics.median(shares) if shares else None,
        "max_rel_err": max((row["max_rel_err"] for row in pruned), default=None),
        "cast_by": {row["model"]: row["casts"] for row in pruned if row["casts"]},
        "onnx_agrees": sum(row.get("onnx", False) for row in rows),
        "cut_per_export": spread([row["cut_per_export"] for row in timed]),
        "cut_s": spread([row["cut_s"] for row in timed]),
        "failures": {row["model"]: row["problems"] for row in rows if row["problems"]},
    }
    cuts_fast = bool(timed) and (
        found["cut_per_export"]["median"] <= MEDIAN_CUT and found["cut_s"]["max"] <= MOST_CUT_S
    )
    enough = len(pruned) >= LEAST_PRUNED * len(rows) and bool(shares) and found["median_macs_share"] <= MEDIAN_MACS
    found["passed"] = enough and cuts_fast
    return found


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "max": max(values)} if values else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=180)
    parser.add_argument("--amount", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one, asked)
        return 0
    rows = []
    with ThreadPoolExecutor(asked.workers) as pool:
        for row in pool.map(lambda name: look_at(name, asked), asked.names or listed()):
            rows.append(row)
            print(line(row), file=sys.stderr, flush=True)
    verdict = summary(rows)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    if asked.json:
        asked.json.write_text(json.dumps({**verdict, "rows": rows}, indent=1) + "\n")
    print(json.dumps(verdict, indent=1))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
