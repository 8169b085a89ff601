"""prunelle sweep, plan and run of lottery tickets from end to end, on digits."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from prunelle.cli.main import answer
from prunelle.engines.local import num_cores
from prunelle.models.save import load
from prunelle.recipes import sweeping
from prunelle.tickets import trials
from prunelle.tickets.results import CLOCKED

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytest.importorskip("jinja2", reason="needs prunelle[report]")
pytestmark = pytest.mark.usefixtures("one_thread")
Capture = pytest.CaptureFixture[str]
SMALL = "--set data=digits --set masks=2 --set rewinds=2 --set epochs=2 --set seeds=2 --set arrangement=plain"

CONTROLLED = f'{SMALL} --set controls=["random","lr","finetune","twin"]'


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    """Short trials, in this process and one thread: what a process is asked to do stands in tests/tickets."""

    class Engine:
        def __init__(self, asked: sweeping.Asked, task: object) -> None:
            self.here = sweeping.Here(task)  # type: ignore[arg-type]

        def __enter__(self) -> sweeping.Here:
            return self.here

        def __exit__(self, *error: object) -> None:
            return None

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "TRIAL_SECONDS", 0.0)
        patch.setattr(sweeping, "engine_of", Engine)
        yield
    torch.set_num_threads(threads)


def said(line: str, capsys: Capture, code: int = 0) -> str:
    capsys.readouterr()
    found = answer(line.split())
    out, err = capsys.readouterr()
    assert found == code, err
    return out if code == 0 else err


def told(line: str, capsys: Capture) -> Any:
    """What --json prints, all of which must be JSON."""
    return json.loads(said(f"{line} --json", capsys))


def table(out: Path) -> list[dict]:
    with (out / "rows.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def swept(here: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """(OUT, what --json told) of a search with four controls."""
    out = tmp_path_factory.mktemp("swept") / "out"
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        assert answer([*f"sweep lottery_lenet {CONTROLLED} --out {out}".split(), "--json"]) == 0
    return out, json.loads(heard.getvalue())


def test_a_search_leaves_what_it_promises(swept: tuple[Path, Any], capsys: Capture) -> None:
    out, found = swept
    rows = table(out)
    # Seeds x (dense + masks x points x (ticket and four controls)).
    assert len(rows) == 2 * (1 + 2 * 2 * 5) == len(json.loads((out / "rows.json").read_text()))
    assert [row["kept"] for row in rows[:3]] == ["1.0", "1.0", "0.8"] and set(rows[0]) >= {"barrier", "status"}
    assert "latency_median_ms" not in rows[0]  # of a search nothing is timed
    assert len(found["points"]) == 1 + 2 * 2 * 5 == len(json.loads((out / "points.json").read_text()))
    assert found["plan"]["num_trainings"] == 42 and found["plan"]["measured_seconds"] > 0
    assert {Path(file["path"]).name for file in found["files"]} >= {"rows.csv", "model.safetensors", "report.html"}
    assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in found["files"])
    for row in rows:
        nnz = round(float(row["kept"]) * int(row["prunable"]))
        assert int(row["nnz"]) == nnz and (out / "runs" / row["run"] / "card.json").exists()
        assert (row["barrier"] != "") == (row["variant"] == "twin")
    # The winner's model stands in OUT, and is a MODEL.
    weights = load(out).state_dict()
    assert any(
        all(
            bool((weights[name] == tensor).all())
            for name, tensor in load(out / "runs" / row["run"] / "model").state_dict().items()
        )
        for row in rows
        if row["variant"] in ("ticket", "lr", "finetune")
    )
    assert "the ticket with" in found["summary"][0] and "42 trainings took" in found["summary"][-1]
    assert json.loads(said(f"inspect {out} --json", capsys))


def test_a_second_start_trains_nothing_and_says_the_same(swept: tuple[Path, Any], capsys: Capture) -> None:
    out, found = swept
    runs = {str(path): path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    csv_before, json_before = (out / "rows.csv").read_bytes(), (out / "points.json").read_bytes()
    line = f"sweep lottery_lenet {CONTROLLED} --out {out}"
    again = told(line, capsys)
    assert {str(path): path.stat().st_mtime_ns for path in (out / "runs").rglob("*")} == runs
    assert (out / "rows.csv").read_bytes() == csv_before and (out / "points.json").read_bytes() == json_before
    assert again == found
    shown = said(line, capsys)
    assert "lr rewound" in shown and "fine-tuned" in shown and "random mask" in shown and "-0.00" not in shown
    assert "dense" in shown and "finetune" not in shown


def test_two_searches_differ_in_the_clock_only(swept: tuple[Path, Any], tmp_path: Path, capsys: Capture) -> None:
    out, _ = swept
    told(f"sweep lottery_lenet {CONTROLLED} --out {tmp_path}/other", capsys)
    first, second = (
        [{k: v for k, v in row.items() if k not in CLOCKED} for row in table(f)] for f in (out, tmp_path / "other")
    )
    assert first == second and set(CLOCKED) < set(table(out)[0])


def test_another_search_is_refused_in_the_same_folder(swept: tuple[Path, Any], capsys: Capture) -> None:
    out, _ = swept
    line = f"sweep lottery_lenet {SMALL} --set iterative=true --out {out}"
    assert "holds a search of other settings; choose another folder" in said(line, capsys, code=2)
    assert "and holds no recipe.json" in said(f"run quickstart --out {out}", capsys, code=2)


def test_run_makes_the_one_ticket(tmp_path: Path, capsys: Capture) -> None:
    told(f"run lottery_lenet {SMALL} --out {tmp_path}/one", capsys)
    rows = table(tmp_path / "one")
    assert [(r["variant"], r["kept"], r["rewind"], r["seed"]) for r in rows] == [
        ("dense", "1.0", "0", "0"),
        ("dense", "1.0", "0", "1"),
        ("ticket", "0.64", "0", "0"),
        ("ticket", "0.64", "0", "1"),
    ]
    assert "of other settings" in said(f"sweep lottery_lenet {SMALL} --out {tmp_path}/one", capsys, code=2)


def test_seeds_are_shifted(tmp_path: Path, capsys: Capture) -> None:
    line = f"run lottery_lenet {SMALL} --set seeds=1 --set epochs=1 --set rewinds=1 --seed 7 --out {tmp_path}/o"
    said(line.replace("--set epochs=2 ", "").replace("--set rewinds=2 ", "").replace("--set seeds=2 ", ""), capsys)
    assert {row["seed"] for row in table(tmp_path / "o")} == {"7"}


def test_a_dry_run_and_a_plan_leave_nothing(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dry = told(f"sweep lottery_lenet {SMALL} --out {tmp_path}/out --dry-run", capsys)
    plan = told(f"plan lottery_lenet {SMALL} --workers 20", capsys)
    for found, workers in ((dry, num_cores()), (plan, 20)):
        assert found["num_trainings"] == 2 + 2 * 2 * 2 and found["workers"] == workers
        # 9 updates an epoch: the dense two and four tickets make 2 epochs, four begin at update 2.
        assert found["num_updates"] == 6 * 18 + 4 * 16
        assert found["curve"][0] | {"seconds": 0} == {"workers": 1, "seconds": 0, "speedup": 1.0, "efficiency": 1.0}
        assert found["curve"][-1]["workers"] == 1000 and found["seconds"] >= found["serial_seconds"] * 0.99
    shown = said(f"plan lottery_lenet {SMALL} --workers 20", capsys)
    assert "10, " in shown and "with 20 workers" in shown and "dense network" in shown and "S(n)" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_point_that_rounds_onto_another_is_refused(tmp_path: Path, capsys: Capture) -> None:
    line = f"sweep lottery_resnet20 --set data=digits --set rewinds=[0,0.001] --out {tmp_path}/o"
    assert "rewinds: (0.0, 0.001) are updates (0, 0)" in said(line, capsys, code=2)
    line = f"sweep lottery_resnet20 --set data=digits --set epochs=1 --set rewinds=[0.999] --out {tmp_path}/o"
    assert "the dense run has 9; take earlier ones or more epochs" in said(line, capsys, code=2)
    assert not (tmp_path / "o").exists()


def test_a_dense_network_that_diverges_is_told_in_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    line = f"sweep lottery_lenet {SMALL} --set lr=100 --out {tmp_path}/o"
    found = said(line, capsys, code=1)
    assert found.startswith("prunelle: dense training: the loss was not finite") and found.count("\n") == 1
