from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.data.load import load_task
from prunelle.errors import RunConflictError
from prunelle.prune.weights import PruneGradually
from prunelle.runs import Run
from prunelle.train.identity import identity, plain
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.stage import Train

SETTINGS = TrainSettings(epochs=1, lr=0.1)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_equal_settings_and_weights_are_one_training_and_any_other_is_not() -> None:
    same = identity(Train(SETTINGS), net())
    assert same == identity(Train(replace(SETTINGS, checkpoint_seconds=1.0)), net())
    assert same != identity(Train(replace(SETTINGS, lr=0.2)), net())
    assert same != identity(Train(SETTINGS), net(1))
    assert same != identity(PruneGradually(0.5, SETTINGS), net())


def test_a_setting_that_came_later_says_nothing_at_its_default() -> None:
    assert "average_epochs" not in plain(SETTINGS) and "restore_best" not in plain(EarlyStop(2))
    assert "average_epochs=0.5" in plain(replace(SETTINGS, average_epochs=0.5))


def test_functions_inside_a_partial_are_told_by_name_not_by_address() -> None:
    def shaped(progress: float, by: object = None) -> float:
        return progress

    assert plain(partial(shaped, by=net)) == plain(partial(shaped, by=net))
    assert "0x" not in plain(partial(shaped, by=net)) and plain(partial(shaped, by=net)) != plain(partial(shaped, by=1))


def test_a_finished_run_is_not_taken_for_one_of_other_settings(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    task, run = load_task("digits"), Run.open(tmp_path, {"what": "mine"}, 0)
    first = PruneGradually(0.9, SETTINGS)(net(), task, run)
    again = PruneGradually(0.9, SETTINGS)(net(), task, run)
    assert torch.equal(first[1].weight, again[1].weight)
    for step, model in ((PruneGradually(0.5, SETTINGS), net()), (PruneGradually(0.9, SETTINGS), net(1))):
        with pytest.raises(RunConflictError, match="of other settings, weights or data"):
            step(model, task, run)
