"""benchmarks/resume.py with few points: an interrupted training ends as if nothing had happened."""

import importlib.util
import sys
from pathlib import Path

import pytest

from prunelle.train import loop

pytestmark = pytest.mark.usefixtures("one_thread")

spec = importlib.util.spec_from_file_location("resume_bench", Path(__file__).parents[2] / "benchmarks" / "resume.py")
assert spec and spec.loader
resume = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = resume  # dataclasses look their module up here
spec.loader.exec_module(resume)


@pytest.mark.parametrize("name", resume.CASES)
def test_interrupted_at_every_kind_of_moment(tmp_path, name):
    found = resume.judge_case(resume.CASES[name], points=len(resume.MOMENTS), seed=1, folder=tmp_path)
    assert found["differing"] == [] and found["updates"] >= 9


def test_the_proof_can_fail(tmp_path, monkeypatch):
    unpack_ = loop.unpack_

    def forgetful(state, progress, tensors, info):
        kept = unpack_(state, progress, tensors, info)
        for buffer in state.optimizer["momentum"]:
            buffer.zero_()
        return kept

    monkeypatch.setattr(loop, "unpack_", forgetful)
    name = "batch norm, dropout, augmentation"
    found = resume.judge_case(resume.CASES[name], points=len(resume.MOMENTS), seed=1, folder=tmp_path)
    assert found["differing"]


def test_the_early_stopping_case_does_stop_early(tmp_path):
    every = resume.CASES["early stopping"].make(1)
    run = resume.Run.open(tmp_path, {}, 0)
    every(resume.mlp(), resume.small_task(False), run)
    assert run.rows()[-1]["epochs_saved"] > 0
