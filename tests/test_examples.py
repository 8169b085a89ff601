"""Every example runs, and says what it is meant to say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SAYS = {
    "01_prune_your_own_network.py": "pruned: 9",
    "02_compare_two_schedules.py": "report.html",
    "03_measure_in_other_runtimes.py": "eager: ",
    "04_cut_channels_of_your_own_module.py": "loaded, bit for bit: True",
    "05_ship.py": "ships as packed",
    "06_fit.py": "all three right: ",
    "07_lottery_tickets.py": "the winning ticket keeps ",
    "08_class_wise.py": "side by side, this image is a ",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_and_is_short(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    assert SAYS[path.name] in capsys.readouterr().out
    assert len(path.read_text().splitlines()) < 60
