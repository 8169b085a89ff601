"""What does an engine add to a job? Empty jobs on the local engine and, where it is installed, on Ray.

python benchmarks/engine_overhead.py [--jobs 500] [--rounds 11] [--workers 2] [--json FILE]

Both engines stand ready and take turns. A round is one call with all jobs, told as milliseconds a job; beside it the
round trip of a call with one job, and how long an engine takes from nothing to its first result. Medians, with the
lowest and highest round. Bars: 5 ms a job on the local engine, 20 ms on Ray, in batches.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from prunelle.engines import local, ray
from prunelle.engines.engine import Engine
from prunelle.errors import MissingExtraError

BARS_MS = {"local": 5.0, "ray": 20.0}
ENGINES = {"local": local.workers_of, "ray": ray.workers_of}
SINGLES = 20


def nothing(job: int, shared: object) -> int:
    return job


def milliseconds_a_job(engine: Engine, num: int) -> float:
    begun = perf_counter()
    found = engine.run(nothing, range(num))
    seconds = perf_counter() - begun
    assert found == list(range(num))
    return 1e3 * seconds / num


def spread(samples: list[float]) -> dict[str, float]:
    return {"median": statistics.median(samples), "lowest": min(samples), "highest": max(samples)}


def judge(jobs: int, rounds: int, workers: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name, start in ENGINES.items():
            begun = perf_counter()
            try:
                engines[name] = stack.enter_context(start(workers))
            except MissingExtraError as error:
                told[name] = {"skipped": str(error)}
                continue
            engines[name].run(nothing, range(workers))
            told[name] = {"first_result_s": perf_counter() - begun}
        batched: dict[str, list[float]] = {name: [] for name in engines}
        single: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, engine in engines.items():
                batched[name].append(milliseconds_a_job(engine, jobs))
                single[name] += [milliseconds_a_job(engine, 1) for _ in range(SINGLES)]
    for name in engines:
        told[name] |= {"ms_a_job": spread(batched[name]), "ms_alone": spread(single[name]), "bar_ms": BARS_MS[name]}
        told[name]["passed"] = told[name]["ms_a_job"]["median"] <= BARS_MS[name]
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("jobs", 500), ("rounds", 11), ("workers", min(2, local.num_cores()))):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    engines = judge(asked.jobs, asked.rounds, asked.workers)
    verdict = {
        "jobs": asked.jobs,
        "rounds": asked.rounds,
        "workers": asked.workers,
        "engines": engines,
        "environment": {"machine": platform.machine(), "cores": local.num_cores(), "load": os.getloadavg()[0]},
        "passed": all(told.get("passed", True) for told in engines.values()),
    }
    print(json.dumps(verdict, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(verdict, indent=1))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
