"""Does `prunelle fit` keep a budget, or refuse honestly, and does searching beat the best single technique?

python benchmarks/fit_budgets.py [--budgets half kb both] [--model resnet44] [--minutes 20] [--data-dir D]
    [--weights W] [--out DIR] [--json FILE]

W/cifar10_MODEL.safetensors was trained on all of CIFAR-10's training images, so choices are made on the first half of
the test split and told on the second. Three budgets, one after another, each with all cores and --minutes:
half   half of the dense network's time in ONNX Runtime, at most .5 points lost
kb     100 KB, at most .5 points lost
both   a quarter of the time and 80 KB, at most 1.5 points lost
The best single technique is the best, by the same order, of what one technique alone gave in the same run, measured on
the split chosen on. Bars: limits kept on the second half, or exit 1 with the nearest miss named; never worse than the
best single technique. An hour on two cores.
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

from prunelle.fit.budget import Budget, best
from prunelle.fit.folder import Folder

BUDGETS = {
    "half": ({"max_ratio": 0.5, "max_drop": 0.5}, ("--max-ms", "0.5x", "--max-drop", "0.5")),
    "kb": ({"max_kb": 100.0, "max_drop": 0.5}, ("--max-kb", "100", "--max-drop", "0.5")),
    "both": (
        {"max_ratio": 0.25, "max_kb": 80.0, "max_drop": 1.5},
        ("--max-ms", "0.25x", "--max-kb", "80", "--max-drop", "1.5"),
    ),
}


def fitted(asked: argparse.Namespace, words: tuple[str, ...], out: Path) -> tuple[int, dict[str, Any]]:
    """(exit code, result) of the command in a process of its own."""
    command = [sys.executable, "-m", "prunelle", "fit", asked.model, "--data", "cifar10", *words]
    command += ["--weights", str(asked.weights / f"cifar10_{asked.model}.safetensors"), "--choose-on", "test-half"]
    command += ["--minutes", str(asked.minutes), "--out", str(out), "--json"]
    command += ["--data-dir", asked.data_dir] if asked.data_dir else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return done.returncode, json.loads(done.stdout)


def judged(name: str, code: int, found: dict[str, Any], out: Path) -> dict[str, Any]:
    """A row: what came out, and beside it the best that one technique alone gave."""
    budget = Budget(**BUDGETS[name][0])
    entries = Folder(out).entries().values()
    alone = best(budget, (one for one in entries if len(one.candidate.techniques) == 1))
    chosen, test = found["chosen"], found["test"]
    taken = next(one for one in entries if one.name == chosen["name"])
    return {
        "budget": name,
        "met": found["met"],
        "exit": code,
        "honest": code == (0 if found["met"] else 1)
        and (found["met"] or bool(found["nearest"]) or bool(found["missed"])),
        "chosen": chosen["name"],
        "share": chosen["share"],
        "share_low": chosen["share_low"],
        "share_high": chosen["share_high"],
        "ms": chosen["median_ms"],
        "kb": chosen["size_bytes"] / 1e3,
        "top1_dense": 100 * test["top1_dense"],
        "top1": 100 * test["top1"],
        "drop": test["drop"],
        "drop_chosen_on": chosen["drop"],
        "missed": found["missed"],
        "nearest": {limit: one["name"] for limit, one in found["nearest"].items()},
        "single": None if alone is None else alone.name,
        "single_excess": None if alone is None else budget.excess(alone),
        "single_drop_chosen_on": None if alone is None else alone.drop,
        "no_worse_than_single": alone is None or budget.rank(taken)[:3] <= budget.rank(alone)[:3],
        "files": found["num_tried"],
        "minutes": found["minutes"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--model", default="resnet44")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--data-dir", default=os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0] or None)
    parser.add_argument("--weights", type=Path, default=Path("../shared/data/weights"))
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    root = asked.out or Path(tempfile.mkdtemp())
    rows = []
    for name in asked.budgets:
        code, found = fitted(asked, BUDGETS[name][1], root / name)
        rows.append(judged(name, code, found, root / name))
        print(json.dumps(rows[-1], indent=1), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    good = all(row["honest"] and row["no_worse_than_single"] for row in rows)
    print(f"{sum(row['met'] for row in rows)} of {len(rows)} budgets met; {'bars kept' if good else 'a bar is missed'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
