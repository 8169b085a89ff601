"""Bar: `make demo` in an empty clone takes under 3 minutes; at 90 % zeros the mean loss over 5 seeds is <= 1.0 point
and the saved folder <= 0.25 times the dense one.

python benchmarks/demo.py      clones this checkout into an empty folder and runs make demo there
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

HERE = Path(__file__).resolve().parents[1]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "prunelle"
        subprocess.run(["git", "clone", "--quiet", str(HERE), str(clone)], check=True)
        start = time.monotonic()
        done = subprocess.run(["make", "demo"], cwd=clone, capture_output=True, text=True)
        minutes = (time.monotonic() - start) / 60
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            return 1
        rows = json.loads((clone / "demo" / "rows.json").read_text())
        page = (clone / "demo" / "report.html").stat().st_size
    by_id = {row["id"]: row for row in rows}
    pairs = [(by_id[row["dense_id"]], row) for row in rows if row["dense_id"]]
    lost = [100 * (before["top1"] - after["top1"]) for before, after in pairs]
    sizes = [after["size_bytes"] / before["size_bytes"] for before, after in pairs]
    met = minutes < 3 and mean(lost) <= 1.0 and max(sizes) <= 0.25 and len(pairs) == 5
    found = {
        "minutes": round(minutes, 2),
        "seeds": len(pairs),
        "lost_points": [round(x, 2) for x in lost],
        "lost_mean": round(mean(lost), 3),
        "size_ratio": round(max(sizes), 3),
        "page_bytes": page,
        "met": met,
    }
    print(json.dumps(found, indent=1))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
