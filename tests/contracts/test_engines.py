"""What every engine must do: run jobs as a plain loop would, in order, and raise the first error."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import prunelle.engines
from prunelle.engines.local import run_jobs
from prunelle.engines.ray import run_jobs as run_on_ray
from prunelle.engines.spark import run_jobs as run_on_spark
from prunelle.errors import DivergedError
from prunelle.runs import Run

ENGINES: dict[str, Callable] = {"local": run_jobs, "ray": run_on_ray, "spark": run_on_spark}
EACH = ["local", *(pytest.param(name, marks=pytest.mark.cluster) for name in ("ray", "spark"))]
NUM_ROWS = 3


def make_run(job: dict, shared: object) -> str:
    """A run with rows, a checkpoint and a card; its id."""
    run = Run.open(Path(job["parent"]), {"kind": "contract"}, job["seed"])
    with run.locked():
        draws = torch.rand(NUM_ROWS, generator=run.generator("draws"))
        for epoch, value in enumerate(draws.tolist(), 1):
            run.record({"stage": "s", "epoch": epoch, "value": value})
        run.save_checkpoint("s", {"draws": draws}, {"threads": torch.get_num_threads()})
        run.finish({"sum": float(draws.sum())})
    return run.id


def fail_or_touch(job: dict, shared: object) -> None:
    if job["number"] == 0:
        raise DivergedError("gradual: the loss was not finite.", last_good=None)
    (Path(job["folder"]) / str(job["number"])).touch()


def test_no_engine_is_left_out() -> None:
    modules = [module.name for module in pkgutil.iter_modules(prunelle.engines.__path__)]
    found = [name for name in modules if hasattr(importlib.import_module(f"prunelle.engines.{name}"), "run_jobs")]
    assert found == list(ENGINES) == ["local", *(one.values[0] for one in EACH[1:])]


@pytest.mark.parametrize("name", EACH)
def test_an_engine_gives_what_a_plain_loop_gives(name: str, tmp_path: Path) -> None:
    plain, engine = tmp_path / "plain", tmp_path / "engine"
    seeds = [5, 1, 4, 0]
    watched: list[int] = []
    expected = [make_run({"parent": plain, "seed": seed}, None) for seed in seeds]
    found = ENGINES[name](make_run, [{"parent": engine, "seed": s} for s in seeds], 1, lambda: watched.append(1))
    assert found == expected  # in the jobs' order
    assert watched
    for seed in seeds:
        a, b = (Run.open(parent, {"kind": "contract"}, seed) for parent in (plain, engine))
        assert b.rows() == a.rows()
        assert b.card() == a.card()
        assert torch.equal(*(run.load_checkpoint("s")[0]["draws"] for run in (a, b)))
        assert b.load_checkpoint("s")[1] == {"threads": 1}


@pytest.mark.parametrize("name", EACH)
def test_the_first_error_is_raised_and_what_has_not_begun_never_does(name: str, tmp_path: Path) -> None:
    jobs = [{"number": number, "folder": tmp_path} for number in range(200)]
    with pytest.raises(DivergedError, match=r"^gradual: the loss was not finite\.$"):
        ENGINES[name](fail_or_touch, jobs, 1)
    assert not (tmp_path / "199").exists()
