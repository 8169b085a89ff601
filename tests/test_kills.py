"""benchmarks/kills.py with small counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the harness watches processes through Linux's pidfd")
def test_a_job_survives_kills_and_disk_faults() -> None:
    counts = ["--kills", "6", "--saves", "3", "--faults", "6"]
    done = subprocess.run([sys.executable, KILLS, *counts, "--forked-only"], capture_output=True, text=True)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert done.returncode == 0
    assert (found["kills"], found["kills_inside_a_save"], sum(found["disk_faults"].values())) == (6, 3, 6)
