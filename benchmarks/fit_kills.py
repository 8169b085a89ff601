"""Does `prunelle fit` survive kills? SIGKILL at random moments and in the middle of writes, on the digits LeNet.

python benchmarks/fit_kills.py [--kills 50] [--minutes 10] [--seed 0] [--quick] [--json FILE]

A search is killed and started again in the same folder until it is done, then another in a new folder, until there
were so many kills. Half of them come at a random moment, to the process alone or with what it started; half in the
middle of a call that changes the folder. After each, the best so far must open and give finite outputs, every file
with a final name must be readable, and no finished candidate may be gone or made again; in the end the candidate must
be that of an undisturbed search, or one whose time differs by less than the timer's interval. `minutes` is ample, so
that a search ends because nothing is left to try. Prints a table and exits 1 when a bar is missed. About half an hour.
"""

import os

# Threads of a maths library would not survive the forks by which searches are started.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import platform
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from disturbed import fit_job
from disturbed.child import Ended, moments
from disturbed.faults import Fault
from disturbed.fit_job import Job

LATEST = 1 / 6
"""Of an undisturbed search, when a kill comes at the latest: so each search is killed about ten times."""


@dataclass
class Tally:
    """What was done and what went wrong. kills: (search, seconds, calls, finished before, whether a best stood)."""

    wanted: int
    kills: list[dict] = field(default_factory=list)
    searches: list[dict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def disturbance(reference: Ended, draw: random.Random) -> dict:
    """Arguments of fit_job.fit for the next kill."""
    if draw.random() < 0.5:
        return {"kills": moments(draw, LATEST * reference.seconds, 0)}
    return {"fault": Fault("kill", draw.randint(1, max(1, round(LATEST * reference.calls))))}


def play(job: Job, out: Path, reference: Ended, tally: Tally, draw: random.Random) -> None:
    """Kill and start again until the search is done; what is wrong is told in the tally."""
    while True:
        before, had_best = fit_job.rows(out), (out / "best").exists()
        how = disturbance(reference, draw) if len(tally.kills) < tally.wanted else {}
        ended = fit_job.fit(job, out, **how)
        problems = fit_job.after_a_kill(out, before, had_best)
        if ended.code == -9 and how:
            moment = "a write" if "fault" in how else "any"
            tally.kills.append(
                {"search": out.name, "seconds": ended.seconds, "moment": moment, "finished": len(before)}
            )
        elif ended.code not in (0, 1) or not (out / "result.json").is_file():
            problems.append(f"ended with {ended.code}: {ended.said[-300:]}")
        tally.problems += [f"{out.name}, kill {len(tally.kills)}: {one}" for one in problems]
        print(f"{out.name}: {len(tally.kills)} kills, {len(before)} candidates finished", file=sys.stderr)
        if problems or ended.code in (0, 1):
            return


def when_done(job: Job, out: Path, wanted: dict, tally: Tally) -> None:
    """The same is chosen as undisturbed, and a further start changes nothing."""
    if not (out / "result.json").is_file():
        return
    found = fit_job.result(out)
    tally.searches.append(
        {
            "search": out.name,
            "kills": sum(kill["search"] == out.name for kill in tally.kills),
            "candidates": len(fit_job.rows(out)),
            "chosen": found["chosen"]["name"],
            "share": [found["chosen"][key] for key in ("share_low", "share", "share_high")],
            "same_candidate": found["chosen"]["candidate"] == wanted["chosen"]["candidate"],
        }
    )
    tally.problems += [f"{out.name}: {wrong}" for wrong in [fit_job.same(wanted, found)] if wrong]
    before = fit_job.rows(out)
    fit_job.fit(job, out)
    if fit_job.rows(out) != before or fit_job.result(out) != found:
        tally.problems.append(f"{out.name}: a start after its end changed something")


def table(tally: Tally) -> str:
    """A line a search."""
    lines = [f"{'search':12} {'kills':>5} {'candidates':>10} {'time, share of dense':>24}  chosen"]
    for one in tally.searches:
        low, middle, high = one["share"]
        span = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"{one['search']:12} {one['kills']:5} {one['candidates']:10} {span:>24}  {one['chosen']}")
    return "\n".join([*lines, f"{len(tally.kills)} kills, {len(tally.problems)} problems", *tally.problems])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each search, ample")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--quick", action="store_true", help="the shortest search, each file timed for a moment")
    parser.add_argument("--json", type=Path, help="write all figures there")
    asked = parser.parse_args()
    tally, draw = Tally(asked.kills), random.Random(asked.seed)
    fit_job.warm_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fit_job.train(folder / "dense", epochs=2 if asked.quick else 40)
        job = Job(folder / "dense", asked.minutes, asked.quick)
        reference, wanted = fit_job.finished(job, folder / "undisturbed")
        when_done(job, folder / "undisturbed", wanted, tally)
        while len(tally.kills) < asked.kills and len(tally.problems) < 10:
            out = folder / f"killed {len(tally.searches)}"
            play(job, out, reference, tally, draw)
            when_done(job, out, wanted, tally)
    print(table(tally))
    found = {
        "benchmark": "fit_kills",
        "seconds_undisturbed": round(reference.seconds, 1),
        "num_kills": len(tally.kills),
        "kills": tally.kills,
        "searches": tally.searches,
        "problems": tally.problems,
        "machine": platform.processor() or platform.machine(),
    }
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1))
    return 1 if tally.problems or len(tally.kills) < asked.kills else 0


if __name__ == "__main__":
    raise SystemExit(main())
