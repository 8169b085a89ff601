"""What a member becomes: like the dense run, whatever it is trained beside, killed wherever."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from small_lotteries import (
    PER_EPOCH,
    PRUNABLE,
    TASK,
    Killed,
    everyone,
    found_of,
    killed_at,
    lottery,
    same,
    trained,
    weights_of,
)
from tiny import same_bits, small_task

from prunelle.errors import BusyError
from prunelle.runs import Run
from prunelle.schedules import cosine
from prunelle.tickets import finished, group, work
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Lottery, Place, first_update, folder_of, lr_at, order_seed, run_of
from prunelle.tickets.rewind import load_point
from prunelle.tickets.trainer import PlainTrainer
from prunelle.train.losses import objective
from prunelle.train.optimizers import Sgd

pytestmark = pytest.mark.usefixtures("one_thread")
WAYS = ("plain", "sparse", "fused")
SMALL = {"kept": (0.3,), "rewinds": (4,), "controls": ("twin", "finetune")}


def rows(one: Lottery, out: Path, member: Member) -> list[dict]:
    return run_of(one, member, Place(out)).rows()


@pytest.mark.parametrize("net", ["mlp", "conv"])
@pytest.mark.parametrize("rewind", [0, 4, PER_EPOCH])
def test_a_ticket_that_keeps_everything_ends_as_the_dense_run(tmp_path: Path, net: str, rewind: int) -> None:
    one = lottery(
        tmp_path, net, schedule=cosine, warmup_epochs=1.5, rewinds=(rewind,), kept=(0.99999,), rewind_optimizer=True
    )
    ticket = Member(0, 0.99999, rewind, "ticket")
    augmented = small_task(augmented=True)
    trained(one, tmp_path, dense(0), task=augmented)
    trained(one, tmp_path, ticket, task=augmented)
    assert same_bits(weights_of(one, tmp_path, dense(0)), weights_of(one, tmp_path, ticket))
    first, second = found_of(one, tmp_path, dense(0)), found_of(one, tmp_path, ticket)
    assert first["test_top1"] == second["test_top1"] and second["nnz"] == second["prunable"]
    assert second["updates"] == 3 * PER_EPOCH - rewind


def test_a_twin_sees_the_data_in_another_order(tmp_path: Path) -> None:
    one = lottery(tmp_path, kept=(0.99999,))
    trained(one, tmp_path, dense(0))
    trained(one, tmp_path, Member(0, 0.99999, 0, "twin"))
    assert not same_bits(weights_of(one, tmp_path, dense(0)), weights_of(one, tmp_path, Member(0, 0.99999, 0, "twin")))
    assert order_seed(Member(0, 0.5, 0, "twin")) != 0 == order_seed(Member(0, 0.5, 0, "ticket"))


def test_learning_rates_after_rewinding_are_the_dense_run_s(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=2, lr=1.0, schedule=cosine, rewinds=(4,), finetune_lr=0.25)
    ticket, finetune, reinit = (Member(0, 0.5, 4, variant) for variant in ("ticket", "finetune", "reinit"))
    assert [lr_at(one, member, 8, 6) for member in (dense(0), ticket, reinit)] == [
        0.5 * (1 + math.cos(math.pi * 8 / 12))
    ] * 3
    assert lr_at(one, finetune, 8, 6) == 0.25
    assert [first_update(member) for member in (dense(0), ticket, finetune, reinit)] == [0, 4, 4, 0]


def test_a_ticket_is_trained_as_the_plainest_loop_would(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=1, lr=0.1, optimizer=Sgd(0.0), rewinds=(3,), kept=(0.4,))
    ticket = Member(0, 0.4, 3, "ticket")
    trained(one, tmp_path, dense(0))
    place = Place(tmp_path)
    model = one.open(TASK, 0).model
    model.load_state_dict(load_point(run_of(one, dense(0), place), 3)[0])
    final = weights_of(one, tmp_path, dense(0))
    flat = torch.cat([final[name].abs().flatten() for name in ("1.weight", "3.weight")])
    threshold = flat.sort().values[PRUNABLE - round(0.4 * PRUNABLE)]
    masks = {name: final[name].abs() >= threshold for name in ("1.weight", "3.weight")}
    told = objective(TASK, one.settings, torch.device("cpu"))
    order = group.generator(0, "order", 0)
    for inputs, targets in list(TASK.train.epoch(8, order=order, drop_last=True))[3:]:
        with torch.no_grad():
            for name, mask in masks.items():
                model.get_parameter(name).mul_(mask)
        model.zero_grad()
        told(inputs, model(inputs), targets).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    trained(one, tmp_path, ticket)
    found = weights_of(one, tmp_path, ticket)
    for name, weight in model.named_parameters():
        assert torch.allclose(found[name], weight, atol=1e-6), name


def test_rows_tell_the_mean_loss_of_the_updates_that_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, epochs=2, rewinds=(4,))
    ticket = Member(0, 0.5, 4, "ticket")
    trained(one, tmp_path, dense(0))
    losses: list[float] = []

    class Told(PlainTrainer):
        def step_(self, *given: Sequence) -> torch.Tensor:
            found = super().step_(*given)
            losses.extend(found.tolist())
            return found

    monkeypatch.setitem(work.TRAINERS, "plain", Told)  # type: ignore[arg-type]
    trained(one, tmp_path, ticket)
    assert len(losses) == 2 + 6  # of the first epoch only what came after update 4
    found = rows(one, tmp_path, ticket)
    assert [(row["epoch"], row["step"]) for row in found] == [(1, 6), (2, 12)]
    assert found[0]["train_loss"] == pytest.approx(sum(losses[:2]) / 2)
    assert found[1]["train_loss"] == pytest.approx(sum(losses[2:]) / 6)
    assert [row["val_top1"] for row in found] == found_of(one, tmp_path, ticket)["history"]


@pytest.mark.parametrize("how", WAYS)
def test_a_kill_after_any_checkpoint_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: work.How
) -> None:
    one = lottery(tmp_path, epochs=2, best_from=0.0, **SMALL)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    later = everyone(one)[1:]
    for out in (whole, killed):
        trained(one, out, dense(0), how=how)
    trained(one, whole, *later, how=how)
    starts = 0
    while not all(run_of(one, member, Place(killed)).done for member in later):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, group.Group, "save_when_due", 2)  # after the second of this start
            trained(one, killed, *later, how=how, every=0.0)
            raise Killed
        starts += 1
    assert starts > 3 and same(one, whole, killed, later)


@pytest.mark.parametrize("how", WAYS)
def test_a_kill_between_the_checkpoints_of_two_members_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: work.How
) -> None:
    """They stand at different updates afterwards, and so go on in two groups."""
    one = lottery(tmp_path, **SMALL)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    later = everyone(one)[1:]
    for out in (whole, killed):
        trained(one, out, dense(0), how=how)
    trained(one, whole, *later, how=how)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, Run, "save_checkpoint", len(later) * 2 + 1)
        trained(one, killed, *later, how=how, every=0.0)
    steps = [run_of(one, member, Place(killed)).load_checkpoint("train")[1]["step"] for member in later]  # type: ignore[index]
    assert len(set(steps)) == 2
    trained(one, killed, *later, how=how)
    assert same(one, whole, killed, later)


@pytest.mark.parametrize("how", WAYS)
def test_what_a_member_becomes_does_not_depend_on_its_neighbours(tmp_path: Path, how: work.How) -> None:
    one = lottery(tmp_path, epochs=2, **SMALL)
    together, alone = tmp_path / "together", tmp_path / "alone"
    later = everyone(one)[1:]
    for out in (together, alone):
        trained(one, out, dense(0), how=how)
    trained(one, together, *later, how=how)
    for member in reversed(later):
        trained(one, alone, member, how=how)
    assert same(one, together, alone, later)


@pytest.mark.parametrize("function", ["save", "count_params"])
def test_a_kill_before_the_card_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """With and without a network that stands there already; of three members the first is done."""
    one = lottery(tmp_path, epochs=2, **SMALL)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    later = everyone(one)[1:]
    for out in (whole, killed):
        trained(one, out, dense(0))
    trained(one, whole, *later)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, finished, function, 2)
        trained(one, killed, *later, every=0.0)
    assert [run_of(one, member, Place(killed)).done for member in later] == [True, False, False]
    card = (folder_of(one, later[0], Place(killed)) / "card.json").stat().st_mtime_ns
    trained(one, killed, *later)
    assert same(one, whole, killed, later)
    assert (folder_of(one, later[0], Place(killed)) / "card.json").stat().st_mtime_ns == card


def test_rewinding_points_are_the_same_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, rewinds=(0, 2, 5, 6), rewind_optimizer=True)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained(one, whole, dense(0))
    for call in (1, 2, 3, 4, 5):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, group.Group, "save_when_due", call)
            trained(one, killed, dense(0), every=0.0)
            raise Killed
    trained(one, killed, dense(0))
    assert same(one, whole, killed, [dense(0)])
    names = [f"rewind-{update}.checkpoint" for update in (0, 2, 5, 6)]
    for name in names:
        first, second = (folder_of(one, dense(0), Place(out)) / name for out in (whole, killed))
        assert first.read_bytes() == second.read_bytes()
    left = sorted(path.name for path in folder_of(one, dense(0), Place(killed)).glob("*.checkpoint"))
    assert left == names


def test_a_run_that_another_process_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path)
    run = run_of(one, dense(0), Place(tmp_path))
    monkeypatch.setattr(work, "LOCK_SECONDS", 0.1)
    with run.locked(), pytest.raises(BusyError, match="another process is at work there; wait"):
        trained(one, tmp_path, dense(0))
    assert not run.done
    trained(one, tmp_path, dense(0))
    assert run.done


def test_what_another_has_finished_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lottery(tmp_path, epochs=1)
    locked = work.locked_soon

    def late(run: Run):
        monkeypatch.setattr(work, "locked_soon", locked)
        trained(one, tmp_path, dense(0))
        return locked(run)

    monkeypatch.setattr(work, "locked_soon", late)
    with monkeypatch.context() as patch:
        patch.setattr(finished, "remove", lambda path: None)
        trained(one, tmp_path, dense(0))
    assert len(rows(one, tmp_path, dense(0))) == 1
