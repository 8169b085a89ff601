"""Bar: Han 2015 on MNIST. Dense error <= 1.8 % (lenet_300_100) and <= 0.9 % (lenet5); at >= 12 times fewer weights
the mean paired difference is <= 0.05 points; the recipe takes under 25 minutes on 2 cores.

python benchmarks/han2015.py [--out DIR] [--seeds 5]      needs MNIST (PRUNELLE_DATA)
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from prunelle.engines.local import num_cores
from prunelle.measure.intervals import interval
from prunelle.recipes.experiment import run_experiment
from prunelle.recipes.han2015 import han2015
from prunelle.recipes.plan import Place

LARGEST_ERROR = {"lenet_300_100": 1.8, "lenet5": 0.9}
LARGEST_LOSS = 0.05
FEWER_WEIGHTS = 12
MINUTES = 25


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp()) / "han2015"
    start = time.monotonic()
    place = Place(out, data_dir=options.data_dir, workers=min(2, num_cores()))
    finished = run_experiment(han2015(seeds=options.seeds), place)
    assert finished is not None
    minutes = (time.monotonic() - start) / 60
    rows = {row["id"]: row for row in finished.rows}
    found: dict = {"minutes": round(minutes, 1), "met": minutes < MINUTES}
    for model, largest in LARGEST_ERROR.items():
        pairs = [(rows[r["dense_id"]], r) for r in finished.rows if r["dense_id"] and r["model"] == model]
        low, middle, high = interval([100 * (before["top1"] - after["top1"]) for before, after in pairs])
        errors = [100 * (1 - before["top1"]) for before, _ in pairs]
        fewer = min(before["nnz"] / after["nnz"] for before, after in pairs)
        met = mean(errors) <= largest and middle <= LARGEST_LOSS and fewer >= FEWER_WEIGHTS
        found[model] = {
            "dense_error_percent": [round(e, 2) for e in errors],
            "dense_error_mean": round(mean(errors), 3),
            "pruned_error_percent": [round(100 * (1 - after["top1"]), 2) for _, after in pairs],
            "fewer_weights": round(fewer, 2),
            "lost_points": [round(x, 3) for x in (low, middle, high)],
            "met": met,
        }
        found["met"] = found["met"] and met
    print(json.dumps(found, indent=1))
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
