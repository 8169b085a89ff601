"""Bar 8: flipped bits, truncations and hostile files. No traceback, no code run, every flip in our own files found.

python -m benchmarks.hostile [--saved 700] [--data 300] [--seed 0]

Damages every file that an experiment writes (dense and pruned model, manifest, recipe, settings, card, metrics, mark
of a finished training, checkpoint) and small data sets in every layout, then meets over a hundred hostile files.
Prints JSON and exits 1 when a bar is missed. Bars: all damage to our own files refused with exit 2 and one sentence;
damaged data loads or is refused; every hostile file refused within 10 s and 1 GB, and none of them ran anything.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile.attacks import MARKER, attacks
from hostile.damage import Target, damages, data_targets, experiment, targets
from hostile.verdict import refused

MOST_SECONDS = 10.0
MOST_BYTES = 2**30


def damage(found: list[Target], count: int, seed: int) -> dict:
    """{file name: [damages, of which wrongly met]} and what went wrong."""
    per_file: dict[str, list[int]] = {}
    faults = {}
    for what, one in damages(found, count, seed):
        tally = per_file.setdefault(one.path.name, [0, 0])
        verdict = one.read()
        tally[0] += 1
        if verdict:
            tally[1] += 1
            faults[what] = verdict
    return {"count": count, "wrong": len(faults), "per_file": per_file, "faults": faults}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def attack_all(root: Path) -> dict:
    """Meet every hostile file in its own folder."""
    faults, ran, slowest = {}, [], 0.0
    before = peak_bytes()
    found = attacks()
    for number, (name, attack) in enumerate(found.items()):
        folder = root / f"attack{number}"
        folder.mkdir()
        os.chdir(folder)
        arguments = attack(folder)
        signal.alarm(60)  # a reader that hangs ends the benchmark
        start = time.perf_counter()
        verdict = refused(arguments)
        seconds = time.perf_counter() - start
        signal.alarm(0)
        slowest = max(slowest, seconds)
        if verdict or seconds > MOST_SECONDS or (folder / "out").exists():
            faults[name] = verdict or f"took {seconds:.1f} s or wrote something"
        if (folder / MARKER).exists():
            ran.append(name)
    return {
        "count": len(found),
        "wrong": len(faults),
        "faults": faults,
        "code_ran": ran,
        "slowest_seconds": slowest,
        "peak_memory_rise_bytes": peak_bytes() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saved", type=int, default=700)
    parser.add_argument("--data", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with contextlib.redirect_stdout(io.StringIO()):
            out = experiment(root / "out")
        saved = damage(targets(out), options.saved, options.seed)
        data = damage(data_targets(root / "data"), options.data, options.seed)
        hostile = attack_all(root)
        os.chdir("/")
    result = {
        "saved_folders": saved,
        "data_files": data,
        "hostile_files": hostile,
        "seconds": time.perf_counter() - start,
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "seed": options.seed,
    }
    print(json.dumps(result, indent=1))
    fits = hostile["peak_memory_rise_bytes"] <= MOST_BYTES and not hostile["code_ran"]
    sys.exit(bool(saved["wrong"] or data["wrong"] or hostile["wrong"]) or not fits)


if __name__ == "__main__":
    main()
