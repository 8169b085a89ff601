"""Does `prunelle plan` tell beforehand what a search takes? Predicted against measured with 1 and 2 workers.

python benchmarks/tickets_plan.py [--quick] [--rounds 2] [--data-dir D] [--json FILE]      needs MNIST

Each round plans a search of LeNet-300-100 on MNIST (8 masks x 3 rewinding points x 2 seeds, and 6 rounds of iterative
pruning), then carries it out in an empty folder, with one worker and with two. The bar: every prediction within 15 % of
what was measured. About 12 minutes on 2 quiet cores; --quick is one small search.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from prunelle.measure.environment import environment
from prunelle.recipes.lottery import TicketRecipe
from prunelle.recipes.lottery_lenet import lottery_lenet
from prunelle.recipes.sweeping import Asked, plan_sweep, run_sweep

OFF = 0.15


def recipes(quick: bool) -> dict[str, TicketRecipe]:
    if quick:
        return {"grid": lottery_lenet(masks=4, rewinds=2, seeds=1, epochs=2)}
    return {
        "grid": lottery_lenet(masks=8, rewinds=3, seeds=2, epochs=5),
        "rounds": lottery_lenet(masks=6, rewinds=1, seeds=2, epochs=5, iterative=True, controls=("random",)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data-dir", default=os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0] or None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        for name, recipe in recipes(options.quick).items():
            for workers in (1, 2):
                rows.append({"search": name, "workers": workers, **tried(recipe, workers, options.data_dir)})
                row = rows[-1]
                print(
                    f"{name}, {workers} workers: planned {row['planned']:.1f} s, measured {row['measured']:.1f} s: "
                    f"{100 * (row['planned'] / row['measured'] - 1):+.1f} %",
                    flush=True,
                )
    off = [abs(row["planned"] / row["measured"] - 1) for row in rows]
    print(f"off by {100 * median(off):.1f} % in the median, {100 * max(off):.1f} % at most; the bar is 15 %")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "environment": environment()}, indent=1))
    return 0 if max(off) <= OFF else 1


def tried(recipe: TicketRecipe, workers: int, data_dir: str | None) -> dict[str, float]:
    """Seconds that the plan says, and that the search then takes, trial and workers' start included."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked(Path(folder) / "out", workers, data_dir=data_dir)
        planned = plan_sweep(recipe, asked)["seconds"]
        begun = time.monotonic()
        found = run_sweep(recipe, asked, lambda what, share: None)
        measured = found.plan["measured_seconds"] or time.monotonic() - begun
    return {"planned": planned, "measured": measured}


if __name__ == "__main__":
    sys.exit(main())
