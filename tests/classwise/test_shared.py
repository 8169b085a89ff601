"""classwise/shared.py: one network for all classes, cut and trained first, which members are cut from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SHAPE, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.classwise import call, split
from prunelle.classwise.call import Divided, divide
from prunelle.classwise.cutting import Cutting
from prunelle.classwise.member import Making
from prunelle.classwise.shared import asks_alike, check_shared
from prunelle.errors import SettingError
from prunelle.measure.macs import count_macs
from prunelle.models.members import Members
from prunelle.models.save import Builder, load
from prunelle.prune.latency_target import Target
from prunelle.recipes.sweeping import Here
from prunelle.train.optimizers import Adam
from prunelle.train.precision import BF16
from prunelle.train.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")
GROUPS = ((0, 2), (1,))
TRAINING = TrainSettings(2, 1e-2, batch_size=16, optimizer=Adam())
MAKING = Making(Cutting(0.4, None, floor=2), TRAINING, distill=0.5)
SHARED_MAKING = replace(MAKING, cutting=replace(MAKING.cutting, target_macs=0.7))
BUILDER = Builder(spec="lenet5_small", input_shape=[2, 12, 12], num_classes=3)


def own_net() -> nn.Module:
    """A module that the house has no name for."""

    def make() -> nn.Module:
        first = (nn.Conv2d(2, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        second = (nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.1))
        return nn.Sequential(*first, *second, nn.Linear(144, 3))

    return seeded(make)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def engine(workers: int, shared: Any) -> Iterator[Here]:
        yield Here(shared)

    monkeypatch.setattr(call, "workers_of", engine)


def divided(out: Path, shared: Making | None = SHARED_MAKING, **changed: Any) -> Divided:
    return divide(own_net(), small_task(), out=out, **{"groups": GROUPS, "making": MAKING, "shared": shared} | changed)


def macs(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> int:
    return count_macs(model, torch.zeros(1, *shape)).total


def test_a_module_of_ones_own_is_cut_twice(tmp_path: Path) -> None:
    whole = macs(own_net())
    found = divided(tmp_path / "o")
    shared = load(tmp_path / "o" / "shared", own_net())
    assert 0.4 * whole < macs(shared) <= 0.7 * whole
    for member, one in zip(found.members.members, found.found.members, strict=True):
        assert macs(member) <= 0.4 * whole and one.epochs == 2
        widths = [
            (own.weight.shape[0], of.weight.shape[0]) for own, of in zip(member, shared, strict=True) if weighed(of)
        ]
        assert all(own <= of for own, of in widths[:-1]) and widths[:-1] != [(of, of) for _, of in widths[:-1]]
    # What was saved carries both cuts, one after the other: it is filled into the shapes that the module had first.
    dense = []
    for outputs in (3, 1):
        dense.append(own_net())
        dense[-1][8] = nn.Linear(144, outputs)
    assert same_bits(state_of(load(tmp_path / "o", Members(dense, GROUPS))), state_of(found.members))


def test_a_network_that_the_house_knows_is_opened_without_its_module(tmp_path: Path) -> None:
    model, task = BUILDER.make(), replace(small_task(), input_shape=(2, 12, 12))
    task = enlarged(task)
    found = divide(model, task, out=tmp_path / "o", groups=GROUPS, making=MAKING, shared=SHARED_MAKING, builder=BUILDER)
    assert same_bits(state_of(load(tmp_path / "o")), state_of(found.members))
    shape = (2, 12, 12)
    assert macs(found.members.members[0], shape) < macs(load(tmp_path / "o" / "shared"), shape) < macs(model, shape)


def enlarged(task: Any) -> Any:
    """Images twice as large."""
    parts = {
        name: replace(part, images=part.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
        for name in ("train", "val", "test")
        for part in [getattr(task, name)]
    }
    return replace(task, **parts)


def weighed(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Linear)


def test_the_whole_network_teaches_and_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = split.asked
    monkeypatch.setattr(split, "asked", lambda whole, *rest: (asked.append(macs(whole)), ask(whole, *rest))[1])
    divided(tmp_path / "o")
    assert asked == [macs(own_net())]


def test_a_second_start_makes_nothing_and_without_it_other_members_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = divided(tmp_path / "o")
    made: list[Any] = []
    make = split.make_member
    monkeypatch.setattr(split, "make_member", lambda job, shop: (made.append(job), make(job, shop))[1])
    again = divided(tmp_path / "o")
    assert not made and same_bits(state_of(again.members), state_of(first.members))
    other = divided(tmp_path / "o", None)
    assert len(made) == 2 and not same_bits(state_of(other.members), state_of(first.members))


SLOW = Cutting(None, floor=2, latency=Target(ratio=0.5))


@pytest.mark.parametrize(
    "making, shared, text",
    [
        (
            replace(MAKING, training=None),
            SHARED_MAKING,
            "shared: goes with training alone; leave it out, or train both",
        ),
        (
            MAKING,
            replace(SHARED_MAKING, training=None),
            "shared: goes with training alone; leave it out, or train both",
        ),
        (
            MAKING,
            MAKING,
            "shared: its target_macs is 0.4, must be above the members', 0.4: they are cut from it; change one.",
        ),
        (replace(MAKING, cutting=SLOW), SHARED_MAKING, "which would be the shared network's; give a time in millisec"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, making: Making, shared: Making, text: str
) -> None:
    with pytest.raises(SettingError) as caught:
        divided(tmp_path / "o", shared, making=making)
    assert text in str(caught.value) and not (tmp_path / "o").exists()


def test_what_can_be() -> None:
    check_shared(MAKING, replace(MAKING, cutting=Cutting(1.0, None)))
    check_shared(replace(MAKING, cutting=Cutting(None, floor=2, latency=Target(ms=1.0))), SHARED_MAKING)


def test_it_may_be_trained_for_longer_and_asked_about_more_views(tmp_path: Path) -> None:
    longer = replace(SHARED_MAKING, training=replace(TRAINING, epochs=3))
    task = small_task(augmented=True)
    found = divide(own_net(), task, out=tmp_path / "o", groups=GROUPS, making=MAKING, shared=longer)
    epochs = [card["epochs"] for card in cards(tmp_path / "o" / "runs") if "epochs" in card]
    assert sorted(epochs) == [2, 2, 3] and all(one.epochs == 2 for one in found.found.members)
    views = [card["num_images"] for card in cards(tmp_path / "o" / "runs") if "num_images" in card]
    assert sorted(views) == [2 * len(task.train), 3 * len(task.train)]


def test_answers_are_taken_over_only_where_members_ask_the_same() -> None:
    assert asks_alike(SHARED_MAKING, MAKING)
    assert not asks_alike(replace(SHARED_MAKING, training=replace(TRAINING, precision=BF16)), MAKING)
    assert not asks_alike(replace(SHARED_MAKING, training=replace(TRAINING, epochs=3)), MAKING)
    assert asks_alike(replace(SHARED_MAKING, training=replace(TRAINING, epochs=3), views=2), MAKING)


def cards(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in runs.glob("*/card.json")]
