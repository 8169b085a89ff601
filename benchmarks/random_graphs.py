"""Is a cut ever silently wrong? Thousands of random networks against themselves with the removed channels at 0.

python benchmarks/random_graphs.py [--count 2000] [--seed 0] [--workers 2] [--json FILE]

Each differs from the others in what it is made of (residuals, concatenations, grouped and depthwise convolutions,
shuffles, splits, gates, padded shortcuts, tied weights, attention, recurrent layers...). Every tensor is drawn, 25, 50
or 75 % of the channels go, and the outputs are compared in float64 for two sizes of batch.
Prints JSON and exits 1 when one differs by over 1e-9 of the largest output, or fails other than by a refusal. A failure
is printed as it is found, with the fewest pieces that still show it. About 15 minutes on 2 cores.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "graph"))

import torch
from random_nets import build, draw
from random_trial import Trial, smallest, trial

from prunelle.prune.channels import plan_channels


def quiet() -> None:
    """What each process does first."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def numbers(count: int, seed: int) -> Iterator[int]:
    """The first `count` numbers from `seed` on whose networks are made of something that none before was made of."""
    seen: set[str] = set()
    number = seed
    while len(seen) < count:
        made = str(build(draw(number)).told)
        if made not in seen:
            seen.add(made)
            yield number
        number += 1


def one(number: int) -> tuple[Trial, Trial | None, float]:
    """(the trial, its smallest failure, seconds)."""
    start = time.perf_counter()
    found = trial(number, plan_channels)
    seconds = time.perf_counter() - start
    return found, smallest(number, plan_channels, found) if found.wrong else None, seconds


def tell(found: Trial, least: Trial) -> None:
    """A failure, as the call that shows it again."""
    pieces = [tuple(piece) for piece in least.pieces]
    print(f"{found.seed} {found.status}: {least.reason}", file=sys.stderr)
    print(f"  trial({found.seed}, plan_channels, [Piece(*one) for one in {pieces}])", file=sys.stderr)
    for kind, told in least.told:
        print(f"    {kind} {told}", file=sys.stderr, flush=True)


def summary(trials: list[Trial], failures: list[dict], seconds: list[float]) -> dict:
    """Counts by outcome, and by kind of piece in how many networks it occurred and in how many it was cut."""
    statuses = Counter(found.status for found in trials)
    met, cut = Counter(), Counter()
    for found in trials:
        if found.status != "refused":
            met.update({piece.kind for piece in found.pieces})
            cut.update(set(found.cut))
    reasons = Counter(found.reason.split(":")[-1][:100] for found in trials if found.status == "refused")
    compared = [found for found in trials if found.status in ("exact", "differs")]
    return {
        "networks": len(trials),
        **{name: statuses[name] for name in ("exact", "nothing_cut", "refused")},
        "wrong": len(failures),
        "refused_share": statuses["refused"] / len(trials),
        "largest_error": max((found.error for found in compared), default=0.0),
        "median_effect": statistics.median([found.effect for found in compared] or [0.0]),
        "seconds_each": {"median": statistics.median(seconds), "max": max(seconds)},
        "cut_where_met": {kind: f"{cut[kind]}/{count}" for kind, count in sorted(met.items())},
        "refusals": dict(reasons.most_common(12)),
        "failures": failures,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("count", 2000), ("seed", 0), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    quiet()
    start, trials, failures, seconds = time.monotonic(), [], [], []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn"), initializer=quiet) as pool:
        for found, least, taken in pool.map(one, numbers(asked.count, asked.seed), chunksize=8):
            trials.append(found)
            seconds.append(taken)
            if least is not None:
                tell(found, least)
                failures.append({"trial": found.to_json(), "smallest": least.to_json()})
    verdict = summary(trials, failures, seconds)
    verdict["minutes"] = round((time.monotonic() - start) / 60, 1)
    verdict["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "workers": asked.workers}
    text = json.dumps(verdict, indent=1)
    if asked.json:
        asked.json.write_text(text + "\n")
    print(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
