"""benchmarks/fit_kills.py and fit_twice.py with small counts, on the shortest search there is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched through Linux's pidfd")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_search_survives_kills(tmp_path: Path) -> None:
    words = ["--kills", "3", "--quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, BENCHMARKS / "fit_kills.py", *words], capture_output=True, text=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["problems"] == []
    assert done.returncode == 0
    assert found["num_kills"] == len(found["kills"]) == 3
    assert all(one["same_candidate"] for one in found["searches"])


def test_two_searches_choose_the_same(tmp_path: Path) -> None:
    words = ["--quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, BENCHMARKS / "fit_twice.py", *words], capture_output=True, text=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["problems"] == []
    assert done.returncode == 0
    assert found["networks"]["same_bits"] == found["networks"]["in_all"] > 0
    assert len({one["chosen"] for one in found["runs"]}) == 1
