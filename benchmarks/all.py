"""Every benchmark at its full count, one after another on a quiet machine; exits 1 when any bar is missed. About 7 h.

python benchmarks/all.py [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    wanted = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path.stem != "all")
    missed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")]).returncode:
            missed.append(name)
    print(f"missed: {', '.join(missed) or 'none'} of {len(wanted)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
