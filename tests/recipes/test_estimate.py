from pathlib import Path

import numpy as np
import pytest

from prunelle.errors import SettingError
from prunelle.recipes import estimate as module
from prunelle.recipes.estimate import BYTES_PER_PARAM, MEASURE_MINUTES, PAGE_BYTES, estimate
from prunelle.recipes.settings import ChannelsStage, GradualChannelsStage, RetrainStage

from .small import ONCE, at_once, cell, place, recipe

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
PARAMS = 50_610
STEPS = 9  # 1,197 training images in batches of 128, the last one dropped


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PILOT_SECONDS", 0.01)


def test_an_estimate_lists_every_run_and_adds_them_up(tmp_path: Path) -> None:
    found = estimate(recipe(cell(), at_once(), seeds=(0, 1)), place(tmp_path / "o", workers=2))
    assert {name: found[name] for name in ("num_runs", "workers", "threads")} == {
        "num_runs": 6,
        "workers": 2,
        "threads": 1,
    }
    assert [(run["run"], run["variant"], run["seed"], run["steps"]) for run in found["runs"]] == [
        *(("gradual", "dense", seed, STEPS) for seed in (0, 1)),
        *((label, "pruned", seed, STEPS) for label in ("gradual", "at once") for seed in (0, 1)),
    ]
    assert found["num_steps"] == 6 * STEPS
    assert found["disk_bytes"] == 6 * 4 * PARAMS + 2 * BYTES_PER_PARAM * PARAMS + PAGE_BYTES
    assert all(run["minutes"] > 0 for run in found["runs"])
    assert found["minutes"] == pytest.approx(sum(run["minutes"] for run in found["runs"]) / 2 + 6 * MEASURE_MINUTES)


def test_rounds_count_and_cutting_has_no_steps(tmp_path: Path) -> None:
    rounds = GradualChannelsStage(amount=0.5, rounds=3, training=ONCE)
    stages = (ChannelsStage(amount=0.5), rounds, RetrainStage(training=ONCE))
    found = estimate(recipe(cell(stages=stages)), place(tmp_path / "o"))
    assert [run["steps"] for run in found["runs"]] == [STEPS, 4 * STEPS]


def test_an_estimate_writes_nothing(tmp_path: Path) -> None:
    estimate(recipe(), place(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_other_images_than_the_data_has_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "small.npz"
    np.savez(data, images=np.zeros((40, 6, 6), np.uint8), labels=np.arange(40) % 4)
    with pytest.raises(SettingError, match=r"--input 3,6,6: .*small.npz has images of 1,6,6; leave it out."):
        estimate(recipe(cell(data=str(data), input_shape=(3, 6, 6))), place(tmp_path / "o"))


def test_a_network_taken_as_it_is_has_no_steps(tmp_path: Path) -> None:
    found = estimate(recipe(cell(dense=None, stages=())), place(tmp_path / "o"))
    assert [run["steps"] for run in found["runs"]] == [0]
