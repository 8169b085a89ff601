"""Bar 7: 300 mutated command lines and recipes, each its own process, refused in one sentence before data is read.

python -m benchmarks.refusals [--count 300] [--seed 0]

Prints JSON and exits 1 when one is not refused properly, or when the median time beyond the interpreter's own imports
is not under 1 s. After each process comes one that only imports what the refusal imported: the command line, and torch
where the refusal needed it. A refused process must leave every file as it was and never name a data file.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cli.mutants import RUBBISH, lay_out, mutants

MOST_SECONDS = 1.0
COMMAND = (
    "import sys; from prunelle.cli.main import answer; code = answer(sys.argv[1:]);"
    "open(3, 'w').write(str('torch' in sys.modules)); sys.exit(code)"
)


def run(arguments: list[str], folder: Path) -> tuple[float, subprocess.CompletedProcess, bool]:
    """(seconds, the finished process, whether it had imported torch)."""
    read, write = os.pipe()
    code = COMMAND.replace("open(3,", f"open({write},")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, pass_fds=[write]
    )
    seconds = time.perf_counter() - start
    os.close(write)
    with os.fdopen(read) as told:
        return seconds, done, told.read() == "True"


def imports(torch_there: bool, folder: Path) -> float:
    """Seconds of a process that only imports what the refused one did."""
    code = "import prunelle.cli.main" + (", torch" if torch_there else "")
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    return time.perf_counter() - start


def fault(done: subprocess.CompletedProcess) -> str | None:
    """What is wrong with a refusal, None when nothing is."""
    line = done.stderr.removesuffix("\n")
    read = line.startswith(f"prunelle: {RUBBISH}/")
    if done.returncode == 2 and line.startswith("prunelle: ") and "\n" not in line and not done.stdout and not read:
        return None
    return f"exit {done.returncode}, stdout {done.stdout[:100]!r}, stderr {done.stderr[-400:]!r}"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        found = mutants(folder, options.count, options.seed)
        before = files_below(folder)
        beyond, whole, faults, kinds, num_torch = [], [], {}, {}, 0
        for mutant in found:
            seconds, done, torch_there = run(list(mutant.arguments), folder)
            whole.append(seconds)
            beyond.append(seconds - imports(torch_there, folder))
            num_torch += torch_there
            kinds[mutant.kind] = kinds.get(mutant.kind, 0) + 1
            wrong = fault(done) or (None if files_below(folder) == before else "a file was written or changed")
            if wrong:
                faults[" ".join(mutant.arguments)[:300]] = wrong
    median = statistics.median(beyond)
    result = {
        "count": len(found),
        "kinds": kinds,
        "refused_properly": len(found) - len(faults),
        "faults": faults,
        "seconds_beyond_imports": {"median": median, "max": max(beyond)},
        "seconds_whole": {"median": statistics.median(whole), "max": max(whole)},
        "num_that_imported_torch": num_torch,
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "seed": options.seed,
    }
    print(json.dumps(result, indent=1))
    sys.exit(bool(faults) or median >= MOST_SECONDS)


if __name__ == "__main__":
    main()
