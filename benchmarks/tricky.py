"""31 networks that structural pruners trip on, half of their channels dead by construction, pruned by magnitude.

python benchmarks/tricky.py [--json FILE]

27 have a known answer: exactly the dead channels go and the output stays. One of them branches on a value, which
nothing that traces can follow. Prints a line a network, then JSON, and exits 1 unless at least 26 are exact and none
runs and differs, fails in its forward, changes shape or crashes the pruner.
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "graph"))

import torch
from tricky_nets import NETS, NUM_KNOWN, tried

from prunelle.prune.channels import prune_channels

LEAST_EXACT = 26
NEVER = ("ran_differs", "forward_error", "wrong_shape", "crashed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for kind in NETS:
        row = tried(kind, prune_channels)
        rows.append(row)
        figures = f"{row['share']:.3f} of the parameters, error {row['error']:.1e}"
        print(f"{row['net']:14} {row['status']:13} {figures}  {row['reason']}", file=sys.stderr, flush=True)
    statuses = Counter(row["status"] for row in rows)
    passed = statuses["exact"] >= LEAST_EXACT and not any(statuses[name] for name in NEVER)
    verdict = {"networks": len(rows), "with_known_answer": NUM_KNOWN, **statuses, "passed": passed}
    if asked.json:
        asked.json.write_text(json.dumps({**verdict, "rows": rows}, indent=1) + "\n")
    print(json.dumps(verdict, indent=1))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
