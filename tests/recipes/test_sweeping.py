from pathlib import Path

import pytest

from prunelle.errors import CorruptFileError, RunConflictError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.recipes.lottery_lenet import lottery_lenet
from prunelle.recipes.sweeping import CLAIM, Asked, claim, lottery_of, planned
from prunelle.tickets.arrangement import Arrangement, Rate
from prunelle.tickets.sweep import Swept

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


def test_the_plan_of_the_start_that_did_it_all_is_kept(tmp_path: Path) -> None:
    asked = Asked(tmp_path, 1)
    task, lottery = lottery_of(RECIPE, asked)
    arranged = Arrangement("plain", 0.0, 1, (Rate("plain", 1, 1.0, 0.5),), 1.0, 2.0)
    first, later = (Swept([], {}, [], {}, arranged, {"trial": seconds}) for seconds in (8.0, 0.1))
    told = planned(lottery, task, asked, first, 60.0)
    # The trial, then a dense network and two tickets: 9 updates of half a second, a validation, an end.
    assert told["seconds"] == 8.0 + 3 * (lottery.updates(task) * 0.5 + 1.0 + 2.0) and told["measured_seconds"] == 60.0
    assert planned(lottery, task, asked, later, None) == told
    for change in ({"curve": []}, {"measured_seconds": "x"}, {"seconds": None}, {"limits": {}}):
        write_sealed_json(tmp_path / "plan.json", told | change)
        with pytest.raises(CorruptFileError, match=r"plan\.json: says other things than such a file does; delete it"):
            planned(lottery, task, asked, later, None)
