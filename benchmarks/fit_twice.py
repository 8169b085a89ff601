"""Does `prunelle fit` choose the same twice? Searches of the digits LeNet with one seed, each in a folder of its own.

python benchmarks/fit_twice.py [--runs 2] [--minutes 10] [--seed 0] [--quick] [--json FILE]

They must choose the same candidate, or candidates whose times, as shares of the dense network's in ONNX Runtime, differ
by less than the timer's interval. The share of candidates that all of them made, and of those whose network came out
bit for bit alike, are told too. Exits 1 when a bar is missed. Some minutes a run.
"""

import os

# Threads of a maths library would not survive the forks by which searches are started.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import platform
import tempfile
from pathlib import Path

from disturbed import fit_job
from disturbed.fit_job import Job


def row(out: Path, seconds: float, found: dict) -> dict:
    """A search as a line of the table."""
    chosen = found["chosen"]
    return {
        "search": out.name,
        "seconds": round(seconds, 1),
        "candidates": found["num_tried"],
        "chosen": chosen["name"],
        "val_top1": chosen["val_top1"],
        "test_top1": found["test"]["top1"],
        "size_bytes": chosen["size_bytes"],
        "median_ms": chosen["median_ms"],
        "share": [chosen[key] for key in ("share_low", "share", "share_high")],
        "met": found["met"],
    }


def weights(out: Path) -> dict[str, str]:
    """Network -> what its weights hash to, as its folder says."""
    found = {}
    for path in out.glob("networks/*/network/model.json"):
        found[path.parents[1].name] = json.loads(path.read_text())["files"]["model.safetensors"]
    return found


def alike(outs: list[Path]) -> dict[str, int]:
    """How many networks the searches made, how many all of them, and how many of these are the same bit for bit."""
    hashes = [weights(out) for out in outs]
    common = set.intersection(*map(set, hashes))
    return {
        "networks": len(set.union(*map(set, hashes))),
        "in_all": len(common),
        "same_bits": sum(len({one[name] for one in hashes}) == 1 for name in common),
    }


def table(rows: list[dict], problems: list[str], networks: dict[str, int]) -> str:
    """A line a search."""
    lines = [
        f"{'search':8} {'seconds':>8} {'files':>6} {'val':>7} {'test':>7} {'bytes':>7} {'share of dense':>24}  chosen"
    ]
    for one in rows:
        low, middle, high = one["share"]
        span = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        top1 = f"{one['val_top1']:7.4f} {one['test_top1']:7.4f}"
        lines.append(
            f"{one['search']:8} {one['seconds']:8} {one['candidates']:6} {top1} {one['size_bytes']:7} "
            f" {span:>24}  {one['chosen']}"
        )
    told = f"{networks['networks']} networks, {networks['in_all']} in all searches, {networks['same_bits']} bit for bit"
    return "\n".join([*lines, told, *problems])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each search, ample")
    parser.add_argument("--seed", type=int, default=0, help="of the searches")
    parser.add_argument("--quick", action="store_true", help="the shortest search, each file timed for a moment")
    parser.add_argument("--json", type=Path, help="write all figures there")
    asked = parser.parse_args()
    fit_job.warm_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fit_job.train(folder / "dense", epochs=2 if asked.quick else 40)
        job = Job(folder / "dense", asked.minutes, asked.quick, asked.seed)
        outs = [folder / f"run {number}" for number in range(asked.runs)]
        ended = [fit_job.finished(job, out) for out in outs]
        networks = alike(outs)
    rows = [row(out, one.seconds, found) for out, (one, found) in zip(outs, ended, strict=True)]
    problems = [wrong for _, found in ended[1:] if (wrong := fit_job.same(ended[0][1], found))]
    if networks["same_bits"] != networks["in_all"]:
        problems.append(f"{networks['in_all'] - networks['same_bits']} networks came out otherwise")
    print(table(rows, problems, networks))
    machine = platform.processor() or platform.machine()
    found = {"benchmark": "fit_twice", "runs": rows, "networks": networks, "problems": problems, "machine": machine}
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1))
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
