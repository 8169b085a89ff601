"""benchmarks/tickets_kills.py with a small count, on a small search."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched through Linux's pidfd")

KILLS = Path(__file__).parents[1] / "benchmarks" / "tickets_kills.py"


def test_a_search_for_tickets_survives_kills(tmp_path: Path) -> None:
    words = ["--quick", "--kills", "6", "--ray-kills", "0", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, KILLS, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["local"]
    assert found["problems"] == []
    assert found["kills"] == sum(found["struck"].values()) >= 6
    assert all(one["begun"] >= one["done"] == 14 for one in found["searches"])
