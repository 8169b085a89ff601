"""Does `prunelle sweep` find the same on every engine and with any number of workers? And what does it take?

python benchmarks/tickets_engines.py [--quick] [--arrangements plain fused sparse] [--json FILE]

A search of 60 trainings on digits, trained one by one, fused and sparse, each on one and on two local workers, on Ray
where it is installed, and begun on one engine, killed half way and ended on another. All deterministic columns, cards,
training rows and networks must be the same byte for byte. Seconds are of a whole command but for importing torch, which
each worker does. Exits 1 when something differs. About 8 minutes on 2 cores.
"""

import os

# Threads of a maths library would not survive the forks by which searches are started.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path

from disturbed.child import Ended, Kill
from disturbed.sweep_checks import differences, num_done, outcome
from disturbed.sweep_job import QUICK, WHOLE, Way, run_sweep, warm_up

ARRANGEMENTS = ("plain", "fused", "sparse")


def ways_of(arrangement: str, method: str, ray: bool) -> list[tuple[Way, ...]]:
    """Each way of doing the search; of two, the first is killed half way and the second goes on."""
    one, two = (Way(arrangement, number, method=method) for number in (1, 2))
    if not ray:
        return [(one,), (two, one)] if method == "fork" else [(one,), (two,), (two, one)]
    on_ray = Way(arrangement, 2, "ray", "spawn")
    return [(one,), (two,), (on_ray,), (two, on_ray), (on_ray, two)]


def do(ways: tuple[Way, ...], grid: tuple[str, ...], out: Path, halves: dict[Way, float]) -> tuple[Ended, int]:
    """The search. halves: seconds after which a first way is killed. Returns its end and what the first had done."""
    done = 0
    if len(ways) == 2:
        run_sweep(ways[0], grid, out, kills=[Kill(halves.get(ways[0], min(halves.values(), default=1.0)), "group")])
        done = num_done(out)
    return run_sweep(ways[-1], grid, out), done


def compare(arrangement: str, grid: tuple[str, ...], method: str, ray: bool, folder: Path) -> list[dict]:
    """A row a way of doing the search: its name, seconds, what another had done before, what differs from the first."""
    reference: dict[str, object] = {}
    halves: dict[Way, float] = {}
    rows = []
    for ways in ways_of(arrangement, method, ray):
        name = ", then ".join(map(str, ways))
        out = folder / name
        ended, before = do(ways, grid, out, halves)
        problems = [f"ended with {ended.code}: {ended.said[-500:]}"] if ended.code else []
        if not problems:
            halves[ways[0]] = 0.6 * ended.seconds
            reference = reference or outcome(out)
            problems = differences(outcome(out), reference)
        rows.append(
            {"way": name, "seconds": round(ended.seconds, 1), "done_before": before, "done": num_done(out)}
            | {"parts": len(reference), "problems": problems + ended.orphans}
        )
        print(f"{name:52} {ended.seconds:8.1f} {before:6} {num_done(out):6} {len(problems):12}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="14 trainings a search, forked workers, no Ray")
    parser.add_argument("--arrangements", nargs="+", choices=ARRANGEMENTS, default=ARRANGEMENTS)
    parser.add_argument("--json", type=Path, help="write all figures there")
    asked = parser.parse_args()
    warm_up()
    ray = bool(find_spec("ray")) and not asked.quick
    grid, method = (QUICK, "fork") if asked.quick else (WHOLE, "spawn")
    print(f"{'way':52} {'seconds':>8} {'before':>6} {'done':>6} {'differences':>12}")
    rows = []
    for arrangement in asked.arrangements:
        with tempfile.TemporaryDirectory() as name:
            rows += compare(arrangement, grid, method, ray, Path(name))
    problems = [f"{row['way']}: {one}" for row in rows for one in row["problems"]]
    print(
        "\n".join([*problems[:20], f"{len(rows)} searches, {len(problems)} differences; Ray: {'yes' if ray else 'no'}"])
    )
    if asked.json is not None:
        found = {"benchmark": "tickets_engines", "rows": rows, "ray": ray, "problems": problems}
        asked.json.write_text(json.dumps(found, indent=1))
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
