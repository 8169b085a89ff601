"""tickets/lottery.py: settings that a search has something else for are refused."""

from pathlib import Path

import pytest
from small_lotteries import lottery

from prunelle.errors import SettingError
from prunelle.train.settings import EarlyStop


def test_settings_that_masks_or_retirement_take_the_place_of_are_refused(tmp_path: Path) -> None:
    assert lottery(tmp_path).settings.average_epochs == 0
    with pytest.raises(SettingError, match=r"^tickets: average_epochs is 0.5 and masks hold the weights"):
        lottery(tmp_path, average_epochs=0.5)
    with pytest.raises(SettingError, match=r"^tickets: early_stop is for single trainings; pass None"):
        lottery(tmp_path, early_stop=EarlyStop(2))
