from pathlib import Path

import pytest

from prunelle.errors import RunConflictError
from prunelle.files import read_sealed_json
from prunelle.recipes.lottery_lenet import lottery_lenet
from prunelle.recipes.sweeping import CLAIM, Asked, claim, lottery_of

RECIPE = lottery_lenet(data="digits", masks=2, rewinds=1, epochs=1, seeds=1)


def test_a_folder_is_claimed_once_and_for_one_kind_of_device(tmp_path: Path) -> None:
    asked = Asked(tmp_path, 1, command="the first")
    _, lottery = lottery_of(RECIPE, asked)
    claim(RECIPE, lottery, asked)
    claim(RECIPE, lottery, Asked(tmp_path, 2, command="the second"))
    assert read_sealed_json(tmp_path / CLAIM)["command"] == "the first"
    with pytest.raises(RunConflictError, match=r"was begun with --device cpu, which rounds otherwise than cuda; go on"):
        claim(RECIPE, lottery, Asked(tmp_path, 1, device="cuda:1"))


def test_other_data_of_the_same_name_is_refused(tmp_path: Path) -> None:
    asked = Asked(tmp_path, 1)
    _, lottery = lottery_of(RECIPE, asked)
    claim(RECIPE, lottery, asked)
    other = lottery.__class__(**{**lottery.__dict__, "named": {**lottery.named, "data": "another"}})
    with pytest.raises(RunConflictError, match="other data or weights of the same name"):
        claim(RECIPE, other, asked)


def test_words_become_updates_of_the_dense_run(tmp_path: Path) -> None:
    # 1,200 or so training digits at batch 128 are 9 updates an epoch; a quarter of them is 2.
    task, lottery = lottery_of(lottery_lenet(data="digits", masks=1, rewinds=3, epochs=2, seeds=1), Asked(tmp_path, 1))
    per_epoch = len(task.train) // 128
    assert lottery.grid.rewinds == (0, round(0.25 * per_epoch), round(0.5 * per_epoch))
    assert lottery.updates(task) == 2 * per_epoch
