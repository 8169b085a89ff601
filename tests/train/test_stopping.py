"""train/stopping.py by hand; in the loop it is tested in test_loop.py."""

import pytest

from prunelle.train.progress import Progress
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.stopping import choose_

SCORES = [0.5, 0.7, 0.7, 0.6, 0.9]


@pytest.mark.parametrize(
    ("changed", "taken", "stopped"),
    [
        ({}, [], None),  # without early stopping the last weights stand as they are
        ({"best_from": 0.4}, [2, 5], None),
        ({"best_from": 0.6}, [3, 5], None),
        ({"early_stop": EarlyStop(2)}, [1, 2], 4),
        ({"early_stop": EarlyStop(2, restore_best=False)}, [1, 2, 3, 4], 4),
        ({"early_stop": EarlyStop(3)}, [1, 2, 5], None),
        ({"early_stop": EarlyStop(2, min_gain=0.3)}, [1, 2], 3),
        ({"early_stop": EarlyStop(target=0.7)}, [1, 2], 2),
    ],
)
def test_what_is_taken_and_when_it_stops(changed, taken, stopped):
    progress, settings = Progress(), TrainSettings(epochs=5, lr=0.1, **changed)
    found = [epoch + 1 for epoch, val in enumerate(SCORES) if choose_(progress, settings, epoch, val)]
    assert (found, progress.stopped_epoch) == (taken, stopped)
