"""classwise/shared.py: one network for all classes, cut and trained first, which members are cut from."""

from __future__ import annotations

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
from prunelle.classwise.member import SHARED, Making
from prunelle.classwise.shared import check_shared
from prunelle.errors import SettingError
from prunelle.measure.macs import count_macs
from prunelle.models.members import Members
from prunelle.models.save import Builder, load
from prunelle.prune.latency_target import Target
from prunelle.recipes.sweeping import Here
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")
GROUPS = ((0, 2), (1,))
MAKING = Making(Cutting(0.4, None, floor=2), TrainSettings(2, 1e-2, batch_size=16, optimizer=Adam()), distill=0.5)
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


def divided(out: Path, shared_macs: float | None = 0.7, **changed: Any) -> Divided:
    return divide(
        own_net(), small_task(), out=out, **{"groups": GROUPS, "making": MAKING, "shared_macs": shared_macs} | changed
    )


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
    found = divide(model, task, out=tmp_path / "o", groups=GROUPS, making=MAKING, shared_macs=0.7, builder=BUILDER)
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


def test_the_shared_network_is_the_control_that_is_cut_as_one(tmp_path: Path) -> None:
    """Same run, whoever asks for it: what it is called is no part of what it is."""
    from prunelle.classwise.member import Job, run_of

    everyone = Job((0, 1, 2), 0)
    named = {"whole": "w", "data": "d"}
    assert run_of(everyone, tmp_path, MAKING, named).folder == run_of(everyone, tmp_path, MAKING, dict(named)).folder
    assert (
        run_of(everyone, tmp_path, MAKING, {**named, SHARED: "s"}).folder.name
        != run_of(everyone, tmp_path, MAKING, named).folder.name
    )


@pytest.mark.parametrize(
    "making, shared_macs, text",
    [
        (replace(MAKING, training=None), 0.7, "shared_macs is 0.7 and members are not trained; leave it out, or train"),
        (MAKING, 0.4, "shared_macs is 0.4, must be above 0.4 and at most 1: members are cut from it."),
        (MAKING, 1.1, "shared_macs is 1.1, must be above 0.4 and at most 1"),
        (
            replace(MAKING, cutting=Cutting(None, floor=2, latency=Target(ratio=0.5))),
            0.7,
            "cut to a share of the time before their cut, which would be the shared network's; give a time in",
        ),
        (replace(MAKING, cutting=Cutting(None, floor=2, latency=Target(ms=1.0))), 0.0, "must be above 0 and at most 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, making: Making, shared_macs: float, text: str
) -> None:
    with pytest.raises(SettingError) as caught:
        divided(tmp_path / "o", shared_macs, making=making)
    assert text in str(caught.value) and not (tmp_path / "o").exists()


def test_what_can_be() -> None:
    check_shared(MAKING, 1.0)
    check_shared(replace(MAKING, cutting=Cutting(None, floor=2, latency=Target(ms=1.0))), 0.5)
