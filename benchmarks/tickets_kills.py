"""Does `prunelle sweep` survive kills? SIGKILL of workers, driver and process group, at any moment and inside writes.

python benchmarks/tickets_kills.py [--kills 300] [--ray-kills 30] [--seed 0] [--quick] [--json FILE]

A search of 60 trainings on digits is killed and started again in the same folder until it is done, then another in a
new one, until there were so many kills; Ray has its share where it is installed. After each kill nothing finished may
be gone, written again or begun again, and every file with a final name must be readable; no process may outlive the
driver by 10 seconds (Ray: 30); in the end all deterministic columns, cards, training rows and networks must be those
of an undisturbed search, byte for byte. Most workers are forked, which costs nothing, every fifth search has workers
born as shipped. Prints a table and exits 1 when a bar is missed. About 25 minutes on 2 cores.
"""

import os

# Threads of a maths library would not survive the forks by which searches are started.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from disturbed.begun import begun
from disturbed.child import Ended, moments
from disturbed.faults import Fault
from disturbed.sweep_checks import Stood, after_a_kill, differences, num_done, outcome, standing, when_done
from disturbed.sweep_job import QUICK, WHOLE, Way, run_sweep, warm_up

LATEST = {QUICK: 0.6, WHOLE: 0.15}
"""Of an undisturbed search, when the next kill comes at the latest."""
SLOWER = {"fork": (1,), "spawn": (1, 2), "ray": (1, 3, 5)}
"""Times one of these, where a start takes seconds."""
LOCAL = (Way(), Way("sparse"), Way(workers=1), Way("fused"), Way(method="spawn"))
RAY = (Way(engine="ray", method="spawn"),)
OFTEN = (
    "settings.json",
    "rewind-",
    "train.checkpoint",
    "metrics.jsonl",
    "model.safetensors",
    "model.json",
    "card.json",
)
"""Files of every run."""
ONCE = ("sweep.json", "arrangement.json", "model.safetensors", "model.json", "points.json", "rows.csv", "rows.json")
"""Files of OUT, which the driver writes, each in three calls."""


@dataclass
class Reference:
    """An undisturbed search."""

    ended: Ended
    parts: dict[str, object]


@dataclass
class Tally:
    """What was done and what went wrong. kills: by whom they struck."""

    wanted: int
    kills: Counter = field(default_factory=Counter)
    starts: int = 0
    slowest_gone: float = 0.0
    searches: list[dict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def disturbance(way: Way, share: float, out: Path, reference: Reference, draw: random.Random) -> dict:
    """Arguments of `run_sweep` for the next start. At most two workers die in one: the third death is an error."""
    latest = share * reference.ended.seconds
    if way.method == "spawn":
        on_ray = way.engine == "ray"
        latest *= draw.choice(SLOWER["ray" if on_ray else way.method])
        return {"kills": moments(draw, latest, draw.choice((0, 1, 1, 2)), "actor" if on_ray else "worker")}
    missing = [name for name in ONCE if not (out / name).exists()]
    chance, kind = draw.random(), draw.choice(("kill", "kill_one"))
    if chance < 0.5:
        return {"kills": moments(draw, latest, draw.choice((0, 1, 1, 2)))}
    if chance > 0.95 and missing:
        return {"fault": Fault(kind, draw.randint(1, 3), f"/{out.name}/.{draw.choice(missing)}")}
    any_call = Fault(kind, draw.randint(1, max(1, round(share * reference.ended.calls))))
    fault = any_call if chance > 0.75 else Fault(kind, draw.randint(1, 12), draw.choice(OFTEN))
    return {"fault": fault, "kills": moments(draw, 2 * latest, draw.choice((0, 0, 1)))}


def struck(ended: Ended, fault: Fault | None) -> list[str]:
    """Whom the kills of a start have hit, and where."""
    found = [kill.whom for kill in ended.struck if kill.whom in ("worker", "actor") or ended.code == -9]
    if fault is not None and ended.calls >= fault.at:
        if not {"driver", "group"} & set(found) and ended.code == -9:
            found.append("group, in a write" if fault.kind == "kill" else "driver, in a write")
        elif fault.kind == "kill_one":
            found.append("worker, in a write")
    return found


def play(way: Way, grid: tuple[str, ...], out: Path, reference: Reference, tally: Tally, draw: random.Random) -> None:
    """Kill and start again until the search is done; what is wrong is told in the tally."""
    begin, before = time.monotonic(), sum(tally.kills.values())
    ended, problems = None, []
    while ended is None or (ended.code == -9 and not problems):
        stood = standing(out)
        enough = sum(tally.kills.values()) >= tally.wanted
        how = {} if enough else disturbance(way, LATEST[grid], out, reference, draw)
        ended = run_sweep(way, grid, out, look=partial(remember, out, stood), **how)
        tally.starts += 1
        tally.kills.update(struck(ended, how.get("fault")))
        tally.slowest_gone = max(tally.slowest_gone, ended.gone_seconds)
        problems = after_a_kill(out, stood) + [f"outlived its driver: {orphan}" for orphan in ended.orphans]
        if ended.code not in (0, -9):
            problems.append(f"ended with {ended.code}: {ended.said[-500:]}")
        print(f"{out.name}: {sum(tally.kills.values())} kills, {num_done(out)} done", *problems, file=sys.stderr)
    problems = problems or when_done(out, reference.parts) + again(way, grid, out)
    tally.problems += [f"{out.name} ({way}): {one}" for one in problems]
    row = {"search": out.name, "way": str(way), "kills": sum(tally.kills.values()) - before}
    row |= {"begun": len(begun(out)), "done": num_done(out), "seconds": round(time.monotonic() - begin, 1)}
    tally.searches.append(row)


def remember(out: Path, stood: Stood) -> None:
    """What is finished at this moment, too, may not be touched again."""
    stood |= standing(out)


def again(way: Way, grid: tuple[str, ...], out: Path) -> list[str]:
    """Problems of a start after the end, which must do nothing."""
    stood, so_far = standing(out), len(begun(out))
    ended = run_sweep(way, grid, out)
    found = [f"a start after the end ended with {ended.code}: {ended.said[-300:]}"] if ended.code else []
    return found + after_a_kill(out, stood) + ["was begun after its end"] * (len(begun(out)) - so_far)


def refer(way: Way, grid: tuple[str, ...], out: Path) -> Reference:
    ended = run_sweep(way, grid, out)
    if ended.code != 0 or ended.orphans:
        raise SystemExit(f"the undisturbed search ({way}) ended with {ended.code}: {ended.said[-1500:]}")
    return Reference(ended, outcome(out))


def kill_all(ways: tuple[Way, ...], wanted: int, grid: tuple[str, ...], folder: Path, draw: random.Random) -> dict:
    """So many kills of searches that are done in these ways, in turn. Returns what is printed."""
    start, tally = time.monotonic(), Tally(wanted)
    references = {way: refer(way, grid, folder / f"undisturbed {way}") for way in ways}
    for way, reference in references.items():
        first = next(one for other, one in references.items() if other.arrangement == way.arrangement)
        tally.problems += [f"undisturbed, {way}: {one}" for one in differences(reference.parts, first.parts)]
    while sum(tally.kills.values()) < wanted and len(tally.problems) < 10:
        way = ways[len(tally.searches) % len(ways)]
        play(way, grid, folder / f"killed {len(tally.searches)}", references[way], tally, draw)
    return {
        "kills": sum(tally.kills.values()),
        "struck": dict(sorted(tally.kills.items())),
        "starts": tally.starts,
        "searches": tally.searches,
        "undisturbed_seconds": {str(way): round(one.ended.seconds, 1) for way, one in references.items()},
        "last_process_gone_after_seconds": round(tally.slowest_gone, 2),
        "problems": tally.problems,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


def table(engine: str, found: dict) -> str:
    """A line a search."""
    lines = [f"{'search':10} {'way':28} {'kills':>5} {'done':>5} {'begun':>6} {'seconds':>8}"]
    for one in found["searches"]:
        numbers = f"{one['kills']:5} {one['done']:5} {one['begun']:6} {one['seconds']:8.1f}"
        lines.append(f"{one['search']:10} {one['way']:28} {numbers}")
    hit = ", ".join(f"{count} {whom}" for whom, count in found["struck"].items())
    told = f"{engine}: {found['kills']} kills ({hit}) in {found['starts']} starts and {found['minutes']} minutes, "
    gone = f"last process gone after {found['last_process_gone_after_seconds']} s"
    return "\n".join([*lines, f"{told}{len(found['problems'])} problems; {gone}", *found["problems"]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 300), ("ray-kills", 30), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--quick", action="store_true", help="14 trainings a search, one way of doing it")
    parser.add_argument("--json", type=Path, help="write all figures there")
    asked = parser.parse_args()
    grid, draw = QUICK if asked.quick else WHOLE, random.Random(asked.seed)
    parts = {"local": (LOCAL[:1] if asked.quick else LOCAL, asked.kills)} if asked.kills else {}
    if asked.ray_kills and find_spec("ray"):
        parts["ray"] = (RAY, asked.ray_kills)
    warm_up()
    found = {}
    for engine, (ways, wanted) in parts.items():
        with tempfile.TemporaryDirectory() as name:
            found[engine] = kill_all(ways, wanted, grid, Path(name), draw)
        print(table(engine, found[engine]), flush=True)
    if "ray" not in found:
        print("ray: not asked for, or not installed")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"benchmark": "tickets_kills", **found}, indent=1))
    missed = [one for one, (_, wanted) in parts.items() if found[one]["problems"] or found[one]["kills"] < wanted]
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
