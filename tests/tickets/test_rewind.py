"""Rewinding points, and what every variant begins with."""

from pathlib import Path

import pytest
import torch
from small_lotteries import PER_EPOCH, PRUNABLE, TASK, lottery, searched, trained, weights_of
from tiny import same_bits

from prunelle.errors import CorruptFileError
from prunelle.seeds import derive
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Lottery, Place, dense_run
from prunelle.tickets.rewind import load_point, point, start_of
from prunelle.tickets.trainer import Start

pytestmark = pytest.mark.usefixtures("one_thread")
KEPT = 0.3
MANY = {"kept": (KEPT,), "rewinds": (0, 4), "rewind_optimizer": True}


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lottery, Path]:
    """A dense run with two rewinding points."""
    folder = tmp_path_factory.mktemp("rewind")
    one, threads = lottery(folder, **MANY), torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests that compare bits with it
    trained(one, folder, dense(0))
    torch.set_num_threads(threads)
    return one, folder


def begins(stands: tuple[Lottery, Path], member: Member) -> Start:
    return start_of(stands[0], member, TASK, Place(stands[1]))


def kept_in(start: Start) -> int:
    return sum(int(mask.sum()) for mask in start.kept.values())


def test_the_first_point_is_the_untrained_network(stands: tuple[Lottery, Path]) -> None:
    one, out = stands
    tensors, optimizer = load_point(dense_run(one, dense(0), Place(out)), 0)
    assert same_bits(tensors, one.open(TASK, 0).model.state_dict())
    assert all(not t.any() for values in optimizer.values() for t in values)


def test_a_later_point_is_where_a_shorter_training_ends(stands: tuple[Lottery, Path], tmp_path: Path) -> None:
    one, out = stands
    run = dense_run(one, dense(0), Place(out))
    tensors, optimizer = load_point(run, 4)
    assert [int(count) for count in optimizer["count"]] == [4] * 4
    (tmp_path / "at").mkdir()
    shorter = lottery(tmp_path / "at", epochs=1, rewinds=(PER_EPOCH - 1,), rewind_optimizer=True)
    trained(shorter, tmp_path, dense(0))
    there = load_point(dense_run(shorter, dense(0), Place(tmp_path)), 5)
    assert not same_bits(tensors, there[0])
    (tmp_path / "same").mkdir()
    same = lottery(tmp_path / "same", epochs=1, rewinds=(4,), rewind_optimizer=True)
    trained(same, tmp_path, dense(0))
    there = load_point(dense_run(same, dense(0), Place(tmp_path)), 4)
    assert same_bits(tensors, there[0])
    assert all(torch.equal(a, b) for q in optimizer for a, b in zip(optimizer[q], there[1][q], strict=True))


def test_a_point_that_is_not_there(stands: tuple[Lottery, Path]) -> None:
    one, out = stands
    with pytest.raises(CorruptFileError, match="has no rewinding point 3; delete that folder"):
        load_point(dense_run(one, dense(0), Place(out)), 3)


def test_a_damaged_point(stands: tuple[Lottery, Path], tmp_path: Path) -> None:
    trained(stands[0], tmp_path, dense(0))
    run = dense_run(stands[0], dense(0), Place(tmp_path))
    path = run.folder / f"{point(4)}.checkpoint"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptFileError, match="does not match its SHA-256"):
        load_point(run, 4)


def test_a_ticket_keeps_the_largest_weights_and_takes_the_point_s(stands: tuple[Lottery, Path]) -> None:
    one, out = stands
    start = begins(stands, Member(0, KEPT, 4, "ticket"))
    assert kept_in(start) == round(KEPT * PRUNABLE)
    final = weights_of(one, out, dense(0))
    names = list(start.kept)
    smallest = min(float(final[name].abs()[start.kept[name]].min()) for name in names)
    assert smallest >= max(float(final[name].abs()[~start.kept[name]].max()) for name in names)
    tensors, optimizer = load_point(dense_run(one, dense(0), Place(out)), 4)
    assert same_bits(dict(start.tensors), tensors)
    assert all(torch.equal(a, b) for q in optimizer for a, b in zip(optimizer[q], start.optimizer[q], strict=True))


def test_the_optimizer_begins_fresh_unless_it_is_asked_for(tmp_path: Path) -> None:
    one = lottery(tmp_path, rewinds=(4,))
    trained(one, tmp_path, dense(0))
    assert start_of(one, Member(0, 0.5, 4, "ticket"), TASK, Place(tmp_path)).optimizer == {}


def test_masks_of_every_variant(stands: tuple[Lottery, Path]) -> None:
    ticket = begins(stands, Member(0, KEPT, 4, "ticket")).kept
    for variant in ("reinit", "lr", "finetune", "twin"):
        own = begins(stands, Member(0, KEPT, 4, variant)).kept
        assert all(torch.equal(own[name], mask) for name, mask in ticket.items())
    shuffled = begins(stands, Member(0, KEPT, 4, "shuffled")).kept
    assert all(torch.equal(shuffled[name].sum(1), mask.sum(1)) for name, mask in ticket.items())
    random = begins(stands, Member(0, KEPT, 4, "random")).kept
    assert {n: int(m.sum()) for n, m in random.items()} == {n: int(m.sum()) for n, m in ticket.items()}
    assert not any(torch.equal(ticket[name], mask) for found in (shuffled, random) for name, mask in found.items())


def test_weights_of_every_variant(stands: tuple[Lottery, Path]) -> None:
    one, out = stands
    ticket = dict(begins(stands, Member(0, KEPT, 4, "ticket")).tensors)
    for variant in ("random", "shuffled", "twin"):
        assert same_bits(dict(begins(stands, Member(0, KEPT, 4, variant)).tensors), ticket)
    for variant in ("lr", "finetune"):
        start = begins(stands, Member(0, KEPT, 4, variant))
        assert same_bits(dict(start.tensors), weights_of(one, out, dense(0))) and start.optimizer == {}
    start = begins(stands, Member(0, KEPT, 0, "reinit"))
    assert same_bits(dict(start.tensors), one.open(TASK, derive(0, "reinit")).model.state_dict())
    assert not same_bits(dict(start.tensors), one.open(TASK, 0).model.state_dict()) and start.optimizer == {}


def test_rounds_only_ever_take_weights_away(tmp_path: Path) -> None:
    kept = (0.6, 0.3, 0.1)
    one = lottery(tmp_path, kept=kept, rewinds=(2,), iterative=True, controls=("lr",))
    searched(one, tmp_path)
    place, before = Place(tmp_path), None
    for number, share in enumerate(kept):
        member = Member(0, share, 2, "ticket", kept[:number])
        start = start_of(one, member, TASK, place)
        assert kept_in(start) == round(share * PRUNABLE)
        if before is not None:
            assert all(not (mask & ~before[name]).any() for name, mask in start.kept.items())
            # Rewound to the dense run's weights, not to those that the round before began or ended with.
            assert same_bits(dict(start.tensors), load_point(dense_run(one, member, place), 2)[0])
            own = start_of(one, Member(0, share, 2, "lr", kept[:number]), TASK, place)
            above = weights_of(one, tmp_path, Member(0, kept[number - 1], 2, "ticket", kept[: number - 1]))
            assert same_bits(dict(own.tensors), above)
        before = start.kept
        found = weights_of(one, tmp_path, member)
        assert all(torch.equal(found[name] != 0, mask) for name, mask in start.kept.items())


def test_each_layer_keeps_its_share_where_the_scope_is_the_layer(tmp_path: Path) -> None:
    from prunelle.prune.select import per_layer

    one = lottery(tmp_path, kept=(KEPT,), scope=per_layer)
    trained(one, tmp_path, dense(0))
    found = start_of(one, Member(0, KEPT, 0, "ticket"), TASK, Place(tmp_path)).kept
    assert {n: int(m.sum()) for n, m in found.items()} == {"1.weight": 216, "3.weight": 9}  # .3 * 720, .3 * 30
