"""Bar 8: 10,000 spoilt packed files, every one refused cleanly.

python benchmarks/hostile_packed.py [--count 10000] [--seed 0]

Flips, cuts, splices, noise, spoilt lengths, header fields, lines and texts, bombs, in packed files of every kind of
tensor and both coders (tests/hostile/packed_damage.py); three in four with the file's hash computed anew, so that the
checks behind it are met. Prints JSON and exits 1 when the bar is missed.
Bar: each file is refused with our error in one sentence that names the file, or holds bit for bit what it held before;
none takes 10 s, all together no more than 512 MiB of memory beyond the start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile.packed_damage import damages, verdict

MOST_BYTES = 2**29


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    refused, faults, slowest = 0, {}, 0.0
    started, before = time.perf_counter(), peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for what, original, spoilt in damages(asked.count, asked.seed):
            begun = time.perf_counter()
            problem, no = verdict(original, spoilt, Path(folder) / "m.prn")
            slowest = max(slowest, time.perf_counter() - begun)
            refused += no
            if problem:
                faults[what] = problem
    rise = peak_bytes() - before
    result = {
        "count": asked.count,
        "refused": refused,
        "opened_equal": asked.count - refused - sum("opened as" in fault for fault in faults.values()),
        "wrong": len(faults),
        "faults": faults,
        "slowest_seconds": round(slowest, 2),
        "peak_memory_rise_bytes": rise,
        "seconds": round(time.perf_counter() - started, 1),
        "seed": asked.seed,
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=1))
    return int(bool(faults) or rise > MOST_BYTES)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
