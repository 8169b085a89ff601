"""Does a job survive kills and a failing disk? SIGKILL at random moments and inside saves, disk faults, a full disk.

python benchmarks/kills.py [--kills 200] [--saves 50] [--faults 50] [--seed 0] [--forked-only]

A job of 12 runs is disturbed and started again in the same folder until it is done, then again in a new folder.
Prints JSON and exits 1 when a bar is missed: nothing finished is lost, no file is unreadable, no row comes twice, no
process outlives the job, a disk fault is one sentence with exit code 1, and in the end every deterministic figure,
every training row and every saved network equals the undisturbed job's byte for byte. About 12 minutes on 2 cores.
"""

import os

# Threads of a maths library would not survive the forks by which the job is started.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from disturbed.checks import after_a_kill, cards, outcome, when_done
from disturbed.faults import DISK_FAULTS, Fault
from disturbed.job import GONE_SECONDS, Ended, Way, run_job, warm_up

NUM_RUNS = 12
FORKED = (Way(2, "fork"), Way(1, "fork"))
WAYS = (*FORKED, *FORKED, Way(2, "spawn"))
TRAINING = {"epochs": 4, "lr": 2e-3, "batch_size": 128}
GRADUAL = {"kind": "gradual", "sparsity": 0.8, "frequency": 5, "score": "magnitude_times_gradient"}
RECIPE = {
    "name": "kills",
    "seeds": [0, 1, 2],
    "cells": [
        {
            "label": "gradual",
            "model": "lenet_300_100",
            "data": "digits",
            "dense": TRAINING,
            "stages": [{**GRADUAL, "training": {**TRAINING, "distill": 0.5}}],
        },
        {
            "label": "at once",
            "model": "lenet5_small",
            "data": "digits",
            "dense": {**TRAINING, "best_from": 0.25},
            "stages": [
                {"kind": "prune", "sparsity": 0.5, "scope": "layer", "score": "random"},
                {"kind": "retrain", "training": {**TRAINING, "patience": 1}},
            ],
        },
    ],
}


@dataclass
class Tally:
    """What was done and what went wrong."""

    left: dict[str, int]
    struck: Counter = field(default_factory=Counter)
    rounds: int = 0
    starts: int = 0
    spawned_kills: int = 0
    slowest_gone: float = 0.0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """The undisturbed job. seconds: by way. calls: that change its folder, in the first way."""

    parts: dict[str, object]
    seconds: dict[Way, float]
    calls: int


def refer(recipe: Path, folder: Path, ways: tuple[Way, ...], tally: Tally) -> Reference:
    """Run the job undisturbed in every way; all must give the same."""
    seconds, parts, calls = {}, {}, 0
    for number, way in enumerate(dict.fromkeys(ways)):
        out = folder / f"reference{number}"
        ended = run_job(recipe, out, way)
        if ended.code != 0 or len(cards(out)) != NUM_RUNS:
            raise SystemExit(f"the undisturbed job failed with {ended.code}: {ended.stderr}")
        seconds[way] = ended.seconds
        parts = parts or outcome(out)
        calls = calls or ended.calls
        tally.problems += [f"undisturbed, {way}: {problem}" for problem in when_done(out, parts)]
    return Reference(parts, seconds, calls)


def disturb(tally: Tally, way: Way, reference: Reference, draw: random.Random) -> tuple[str, dict]:
    """(what, arguments of run_job) of the next disturbance, drawn from those that are left; nothing when none is.

    Faults are put into forked processes only; spawned ones are killed from outside.
    """
    allowed = [what for what, left in tally.left.items() if left > 0 and (way.method == "fork" or what == "kill")]
    if not allowed:
        return "nothing", {}
    what = draw.choices(allowed, [tally.left[one] for one in allowed])[0]
    if what == "kill":
        alone = way.method == "spawn" and draw.random() < 0.5
        return what, {"kill_after": draw.uniform(0, reference.seconds[way]), "alone": alone}
    return what, {"fault": Fault("kill" if what == "save" else what, draw.randint(1, reference.calls))}


def judge(what: str, ended: Ended) -> tuple[bool, list[str]]:
    """(whether the disturbance struck, problems of how the job ended)."""
    found = [f"{what}: processes outlived the job"] if ended.gone_seconds >= GONE_SECONDS else []
    if ended.code == -9 and what in ("kill", "save"):
        return True, found
    if ended.code == 1 and what in DISK_FAULTS and what != "short_writes":
        sentences = ended.stderr.strip().splitlines()
        if len(sentences) != 1 or "could not be written" not in sentences[0]:
            found.append(f"{what}: not one sentence but {ended.stderr!r}")
        return True, found
    if ended.code != 0 or ended.stderr:
        found.append(f"{what}: exit code {ended.code}: {ended.stderr!r}")
    return what == "short_writes", found


def play(recipe: Path, out: Path, way: Way, reference: Reference, tally: Tally, draw: random.Random) -> None:
    """One round: disturb and start again until the job is done, then compare."""
    tally.rounds += 1
    problems: list[str] = []
    ended = None
    while ended is None or (ended.code != 0 and not problems):
        finished = cards(out)
        what, arguments = disturb(tally, way, reference, draw)
        ended = run_job(recipe, out, way, **arguments)
        struck, problems = judge(what, ended)
        problems += after_a_kill(out, finished)
        tally.starts += 1
        tally.slowest_gone = max(tally.slowest_gone, ended.gone_seconds)
        if struck:
            tally.struck[what] += 1
            tally.left[what] -= 1
            tally.spawned_kills += way.method == "spawn"
    tally.problems += [f"{out.name} {way}: {one}" for one in problems or when_done(out, reference.parts)]


def full_disk(recipe: Path, folder: Path, reference: Reference, draw: random.Random) -> Iterator[str]:
    """Fill a real file system of a few hundred kB, make it larger, start again. Yields problems, or why not done."""
    disk = folder / "disk"
    disk.mkdir()
    size = draw.randint(150, 600)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "prunelle-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        yield "skipped: mounting a small file system needs root"
        return
    try:
        out, way = disk / "out", FORKED[0]
        ended = run_job(recipe, out, way)
        struck, problems = judge("full", ended)
        yield from problems if struck else [f"{size} kB: the job ended with {ended.code} {ended.stderr!r}"]
        yield from after_a_kill(out, {})
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        finished = cards(out)
        yield from judge("nothing", run_job(recipe, out, way))[1]
        yield from [*after_a_kill(out, finished), *when_done(out, reference.parts)]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 200), ("saves", 50), ("faults", 50), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--forked-only", action="store_true", help="leave out the workers born as shipped: quicker")
    asked = parser.parse_args()
    ways = FORKED if asked.forked_only else WAYS
    start = time.monotonic()
    each, more = divmod(asked.faults, len(DISK_FAULTS))
    faults = {kind: each + (number < more) for number, kind in enumerate(DISK_FAULTS)}
    tally = Tally({"kill": asked.kills - asked.saves, "save": asked.saves, **faults})
    draw = random.Random(asked.seed)
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.json"
        recipe.write_text(json.dumps(RECIPE))
        reference = refer(recipe, folder, ways, tally)
        while any(tally.left.values()):
            way = ways[tally.rounds % len(ways)]
            play(recipe, folder / f"round{tally.rounds}", way, reference, tally, draw)
        disk = list(full_disk(recipe, folder, reference, draw))
    skipped = [one for one in disk if one.startswith("skipped")]
    tally.problems += [f"full disk: {one}" for one in disk if one not in skipped]
    print(json.dumps(verdict(tally, reference, skipped, start), indent=1))
    return 1 if tally.problems else 0


def verdict(tally: Tally, reference: Reference, skipped: list[str], start: float) -> dict:
    """What is printed."""
    return {
        "runs_a_job": NUM_RUNS,
        "kills": tally.struck["kill"] + tally.struck["save"],
        "kills_inside_a_save": tally.struck["save"],
        "kills_of_spawned_workers": tally.spawned_kills,
        "disk_faults": {kind: tally.struck[kind] for kind in DISK_FAULTS},
        "full_disk": skipped[0] if skipped else "done",
        "rounds": tally.rounds,
        "starts": tally.starts,
        "undisturbed_seconds": {f"{w.workers} {w.method}": round(s, 2) for w, s in reference.seconds.items()},
        "calls_that_change_the_folder": reference.calls,
        "last_process_gone_after_seconds": round(tally.slowest_gone, 3),
        "problems": tally.problems,
        "environment": {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "minutes": round((time.monotonic() - start) / 60, 2),
        "passed": not tally.problems,
    }


if __name__ == "__main__":
    sys.exit(main())
