"""Members that are ended before their last epoch: converged, without hope, or diverged."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from small_lotteries import (
    PRUNABLE,
    TASK,
    Killed,
    arrangement,
    everyone,
    found_of,
    killed_at,
    lottery,
    same,
    searched,
    trained,
    weights_of,
)
from torch import Tensor

from prunelle.errors import DivergedError
from prunelle.tickets import group, work
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Lottery, Place, run_of
from prunelle.tickets.results import retired, rows_of
from prunelle.tickets.retire import Retirement
from prunelle.tickets.rewind import load_point
from prunelle.tickets.trainer import PlainTrainer

pytestmark = pytest.mark.usefixtures("one_thread")
TICKET, FINETUNE, TWIN = (Member(0, 0.5, 0, variant) for variant in ("ticket", "finetune", "twin"))


class Told:
    """Val accuracies as told, one after the other for each member of a group, in place of measured ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *tops: float) -> None:
        self.tops = list(tops)
        whole = group.evaluate

        def evaluate(*given: object) -> object:
            found = whole(*given)  # type: ignore[arg-type]
            return type(found)(**{**found.__dict__, "top1": self.tops.pop(0)})

        monkeypatch.setattr(group, "evaluate", evaluate)


def test_a_member_without_gain_leaves_with_the_best_it_has_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lottery(tmp_path, epochs=6, best_from=0.0, retirement=Retirement(patience=2))
    trained(one, tmp_path, dense(0))
    kept: dict[int, dict[str, Tensor]] = {}
    whole = group.Group.close_epoch_

    def close(self: group.Group, trainer: PlainTrainer, epoch: int) -> None:
        kept[epoch + 1] = trainer.tensors(0)
        whole(self, trainer, epoch)

    monkeypatch.setattr(group.Group, "close_epoch_", close)
    Told(monkeypatch, 0.4, 0.6, 0.6, 0.5)
    trained(one, tmp_path, TICKET)
    found = found_of(one, tmp_path, TICKET)
    assert (found["left"], found["history"]) == ("converged", [0.4, 0.6, 0.6, 0.5])
    assert (found["updates"], found["updates_left_out"]) == (4 * 6, 2 * 6)
    own = weights_of(one, tmp_path, TICKET)
    assert all(torch.equal(own[name], kept[2][name]) for name in own)


@pytest.mark.parametrize(("best_from", "chosen"), [(0.0, 1), (0.5, 2), (0.7, 3), (1.0, 3)])
def test_the_best_is_chosen_from_the_epochs_that_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best_from: float, chosen: int
) -> None:
    """Of val 0.9, 0.8, 0.8; the first of the equal ones."""
    one = lottery(tmp_path, best_from=best_from)
    trained(one, tmp_path, dense(0))
    Told(monkeypatch, 0.9, 0.8, 0.8)
    kept: list[dict[str, Tensor]] = []
    whole = group.Group.close_epoch_
    monkeypatch.setattr(
        group.Group, "close_epoch_", lambda self, trainer, n: (kept.append(trainer.tensors(0)), whole(self, trainer, n))
    )
    trained(one, tmp_path, TICKET)
    own = weights_of(one, tmp_path, TICKET)
    assert [all(torch.equal(own[name], one_of[name]) for name in own) for one_of in kept] == [
        number == chosen for number in (1, 2, 3)
    ]


def test_one_leaves_and_the_others_end_as_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"epochs": 4, "controls": ("finetune", "twin")}
    one = lottery(tmp_path, **told, retirement=Retirement(gap=0.2))
    left, alone = tmp_path / "left", tmp_path / "alone"
    trained(one, left, dense(0))
    trained(one, alone, dense(0))
    with monkeypatch.context() as patch:
        # Epoch 1, epoch 2 of ticket, finetune and twin; then two epochs of the two that stay.
        Told(patch, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9, *[0.9] * 4)
        trained(one, left, TICKET, FINETUNE, TWIN)
    assert [found_of(one, left, m)["left"] for m in (TICKET, FINETUNE, TWIN)] == [None, "hopeless", None]
    assert found_of(one, left, FINETUNE)["updates_left_out"] == 12
    with monkeypatch.context() as patch:
        Told(patch, *[0.9] * 8)
        trained(one, alone, TICKET, TWIN)
    assert same(one, left, alone, [TICKET, TWIN])


def test_a_kill_when_one_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, epochs=4, retirement=Retirement(patience=1, grace=2))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tops = [0.5, 0.5, 0.5, 0.6, 0.7, 0.8]  # of ticket and finetune: .5, .5 and .5, .6; then the finetune's .7, .8
    for out in (whole, killed):
        trained(one, out, dense(0))
    with monkeypatch.context() as patch:
        Told(patch, *tops)
        trained(one, whole, TICKET, FINETUNE)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Told(patch, *tops)
        killed_at(patch, group.Group, "leave_", 1)
        trained(one, killed, TICKET, FINETUNE, every=0.0)
    assert [run_of(one, m, Place(killed)).done for m in (TICKET, FINETUNE)] == [True, False]
    with monkeypatch.context() as patch:
        Told(patch, *tops[3:])
        trained(one, killed, TICKET, FINETUNE)
    assert same(one, whole, killed, [TICKET, FINETUNE])
    assert found_of(one, whole, TICKET)["left"] == "converged" and found_of(one, whole, FINETUNE)["left"] is None


def test_those_that_are_audited_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, epochs=4, best_from=0.0, retirement=Retirement(patience=1, audit=1.0))
    arranged = arrangement()
    with monkeypatch.context() as patch:
        # Of the dense network, then of the ticket, which would have left with .6 after epoch 3.
        Told(patch, 0.5, 0.6, 0.6, 0.6, 0.5, 0.6, 0.55, 0.7)
        swept = searched(one, tmp_path, arranged)
    found = swept.cards[TICKET]["found"]
    assert (found["left"], found["updates_left_out"]) == (None, 0)
    assert found["would_leave"] == ["converged", 0.6, 3]
    told = retired(swept)
    assert (told["members"], told["updates_saved"], told["audited"]) == (0, 0, 1)
    assert told["accuracy_cost"] == pytest.approx(found["val_top1"] - 0.6)
    assert swept.cards[dense(0)]["found"]["would_leave"] is None  # the dense one is never judged


def test_later_rounds_of_a_hopeless_ticket_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"epochs": 3, "kept": (0.5, 0.4, 0.3), "iterative": True, "controls": ("random",)}
    one = lottery(tmp_path, **told, retirement=Retirement(gap=0.3, grace=1))
    with monkeypatch.context() as patch:
        # Dense; the first ticket, which is a job of its own, and its control, which goes on.
        Told(patch, *[0.9] * 3, 0.1, 0.1, *[0.9] * 3)
        swept = searched(one, tmp_path)
    first, control, *later = everyone(one)[1:]
    assert swept.cards[first]["found"]["left"] == "hopeless" and swept.cards[control]["found"]["left"] is None
    assert swept.skipped == later and len(later) == 4
    rows = rows_of(one, swept, Place(tmp_path), 6)
    assert [row["status"] for row in rows] == ["done", "hopeless", "done", *["skipped"] * 4]
    assert not any((Place(tmp_path).out / "runs" / row["run"]).exists() for row in rows[3:])


class Exploding(PlainTrainer):
    """The second member's loss is not finite from the fourth step on. Final."""

    steps = 0

    def step_(self, *given: Sequence) -> Tensor:
        self.steps += 1
        found = super().step_(*given)
        if self.steps >= 4 and len(found) > 2:
            found[1] = float("inf")
        return found


def exploding(monkeypatch: pytest.MonkeyPatch, one: Lottery, out: Path, every: float = 1e9) -> None:
    monkeypatch.setitem(work.TRAINERS, "plain", Exploding)  # type: ignore[arg-type]
    trained(one, out, TICKET, FINETUNE, TWIN, every=every)


def test_one_that_diverges_in_its_first_epoch_leaves_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lottery(tmp_path)
    whole, killed, alone = (tmp_path / name for name in ("whole", "killed", "alone"))
    for out in (whole, killed, alone):
        trained(one, out, dense(0))
    with monkeypatch.context() as patch:
        exploding(patch, one, whole)
    found = found_of(one, whole, FINETUNE)
    assert found["diverged"] and found["left"] is None and found["history"] == []
    assert found["updates"] == 4 and found["updates_left_out"] == 14
    assert found["nnz"] == round(0.5 * PRUNABLE)  # under its mask, though no update was good
    trained(one, alone, TICKET, TWIN)
    assert same(one, whole, alone, [TICKET, TWIN])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, group.Group, "save_when_due", 2)
        exploding(patch, one, killed, every=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Exploding, "steps", 2)
        exploding(patch, one, killed)
    assert same(one, whole, killed, [TICKET, FINETUNE, TWIN])


@pytest.mark.parametrize("how", ["plain", "fused", "sparse"])
def test_a_huge_learning_rate_spoils_one_member_only(tmp_path: Path, how: work.How) -> None:
    one = lottery(tmp_path, epochs=2, finetune_lr=1e30)
    together, alone = tmp_path / "together", tmp_path / "alone"
    for out in (together, alone):
        trained(one, out, dense(0))
    trained(one, together, TICKET, FINETUNE, TWIN, how=how)
    trained(one, alone, TICKET, TWIN, how=how)
    assert found_of(one, together, FINETUNE)["diverged"] and not found_of(one, together, TICKET)["diverged"]
    assert same(one, together, alone, [TICKET, TWIN])
    assert all(bool(t.isfinite().all()) for t in weights_of(one, together, FINETUNE).values())


def test_val_that_is_not_finite_is_divergence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, epochs=3)
    trained(one, tmp_path, dense(0))
    whole, calls = group.evaluate, [0]

    def evaluate(*given: object) -> object:
        calls[0] += 1
        found = whole(*given)  # type: ignore[arg-type]
        return found if calls[0] == 1 else type(found)(**{**found.__dict__, "loss": float("nan")})

    monkeypatch.setattr(group, "evaluate", evaluate)
    trained(one, tmp_path, TICKET)
    found = found_of(one, tmp_path, TICKET)
    assert found["diverged"] and len(found["history"]) == 1 and found["updates"] == 12


def test_a_search_without_a_dense_network_ends_with_a_sentence(tmp_path: Path) -> None:
    one = lottery(tmp_path, lr=1e30, seeds=(0, 1))
    for _ in range(2):  # the second start says the same
        with pytest.raises(DivergedError, match="grew a thousandfold with seed 0, 1; there is nothing"):
            searched(one, tmp_path)
    assert not (tmp_path / "runs" / "card.json").exists()
    point = load_point(run_of(one, dense(0), Place(tmp_path)), 0)[0]
    assert all(torch.equal(t, one.open(TASK, 0).model.state_dict()[name]) for name, t in point.items())
