"""benchmarks/tickets_engines.py on a small search and forked local workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched through Linux's pidfd")

ENGINES = Path(__file__).parents[1] / "benchmarks" / "tickets_engines.py"


def test_a_search_finds_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    words = ["--quick", "--arrangements", "fused", "sparse", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, ENGINES, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert len(rows) == 4
    assert all(one["problems"] == [] and one["done"] == 14 for one in rows)
    assert all(one["parts"] == 2 + 14 * 4 + 2 for one in rows)  # two tables; per training four files; the winner
