"""Sealed files that a stranger has written, read in place of our own: one sentence, and no byte of theirs used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_lotteries import TASK, arrangement, everyone, found_of, lottery, searched, trained
from torch import Tensor, nn

from prunelle.errors import CorruptFileError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.tickets.barrier import FILE, barrier_of
from prunelle.tickets.finished import card_of
from prunelle.tickets.fitting import alike, check_start, is_number
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.live import STAGE
from prunelle.tickets.lottery import Place, dense_run, run_of
from prunelle.tickets.rewind import point
from prunelle.tickets.sweep import ARRANGEMENT
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import Adam

pytestmark = pytest.mark.usefixtures("one_thread")
TICKET = Member(0, 0.5, 0, "ticket")
Change = Callable[[dict[str, Tensor]], object]


def without(name: str) -> Change:
    return lambda tensors: tensors.pop(name)


def put(name: str, tensor: Tensor) -> Change:
    return lambda tensors: tensors.update({name: tensor})


CHANGES = {
    "short bias": put("weights:1.bias", torch.zeros(1)),
    "other type": put("weights:1.bias", torch.zeros(10, dtype=torch.float64)),
    "missing": without("weights:3.weight"),
    "another": put("weights:9.weight", torch.zeros(2, 2)),
    "nothing known": put("elsewhere", torch.zeros(1)),
    "state of another": put("optimizer:exp_avg:0", torch.zeros(1)),
    "state without a number": put("optimizer:exp_avg:first", torch.zeros(1)),
}


@pytest.mark.parametrize("how", ["plain", "fused", "sparse"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_rewinding_point_of_something_else(tmp_path: Path, change: Change, how: Any) -> None:
    one = lottery(tmp_path, epochs=1, rewind_optimizer=True)
    trained(one, tmp_path, dense(0))
    run = dense_run(one, TICKET, Place(tmp_path))
    found = run.load_checkpoint(point(0))
    assert found is not None
    change(found[0])
    run.save_checkpoint(point(0), *found)
    with pytest.raises(CorruptFileError, match="start again"):
        trained(one, tmp_path, TICKET, how=how)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=1)
    trained(one, tmp_path, dense(0))
    run = run_of(one, TICKET, Place(tmp_path))
    good = {"step": 3, "history": [], "best_val": -1.0, "first_loss": None, "loss_sum": 0.0}
    good |= {"would_leave": None, "seconds": 0.0}
    weights = {f"weights:{n}": t for n, t in one.open(TASK, 0).model.state_dict().items()}
    wrong = ({"step": -3}, {"step": "3"}, {"history": 5}, {"history": ["x"]}, {"seconds": None}, {"would_leave": [1]})
    for info in (*(good | change for change in wrong), {}, [1]):
        run.save_checkpoint(STAGE, weights, info)  # type: ignore[arg-type]
        with pytest.raises(CorruptFileError, match=r"train\.checkpoint is of something else; delete it"):
            trained(one, tmp_path, TICKET)
    for place in ("weights", "best", "good"):
        run.save_checkpoint(STAGE, weights | {f"{place}:1.bias": torch.zeros(1)}, good)
        with pytest.raises(CorruptFileError, match=r"is of another model \("):
            trained(one, tmp_path, TICKET)
    run.save_checkpoint(STAGE, weights | {"optimizer:count:00000": torch.zeros(())}, good)
    with pytest.raises(CorruptFileError, match=r"is of another model \(count:1 differs"):
        trained(one, tmp_path, TICKET)


@pytest.mark.parametrize(
    "change",
    (
        {"found": 3},
        {"took": None},
        {"found": {}},
        {"took": {"seconds": -1.0, "how": "plain"}},
        {"val_top1": "high"},
        {"val_top1": 2.0},
        {"diverged": 0},
        {"left": "bored"},
        {"seed": 1},
        {"nnz": None},
        {"would_leave": [1, 2]},
    ),
    ids=str,
)
def test_a_card_of_something_else(tmp_path: Path, change: dict) -> None:
    one = lottery(tmp_path, epochs=1)
    trained(one, tmp_path, dense(0))
    run = dense_run(one, dense(0), Place(tmp_path))
    card = run.card()
    whole = card | change if change.keys() <= card.keys() else card | {"found": card["found"] | change}
    run.finish(whole)
    with pytest.raises(CorruptFileError, match=r"card\.json: is not of this training"):
        card_of(one, dense(0), Place(tmp_path))
    run.finish(card)
    assert found_of(one, tmp_path, dense(0)) == card["found"]


@pytest.mark.parametrize(
    "change",
    (
        {"whole": "quick"},
        {"whole": 1},
        {"workers": 0},
        {"workers": 1.5},
        {"rates": None},
        {"rates": [3]},
        {"sparse_below": "x"},
        {"look_seconds": -1.0},
        {"more": 1},
    ),
    ids=str,
)
def test_an_arrangement_of_something_else(tmp_path: Path, change: dict) -> None:
    one = lottery(tmp_path, epochs=1)
    write_sealed_json(tmp_path / ARRANGEMENT, arrangement().to_json() | change)
    with pytest.raises(CorruptFileError, match=r"arrangement\.json: .* start again"):
        searched(one, tmp_path)


def test_a_barrier_of_something_else(tmp_path: Path) -> None:
    one = lottery(tmp_path, epochs=1, controls=("twin",))
    found = searched(one, tmp_path / "out")
    (twin,) = (member for member in everyone(one) if member.variant == "twin")
    path = run_of(one, twin, Place(tmp_path / "out")).folder / FILE
    stood = read_sealed_json(path)
    assert barrier_of(one, twin, Place(tmp_path / "out")) == found.barriers[twin]
    for change in ({"barrier": "x"}, {"errors": []}, {"barrier": None}):
        write_sealed_json(path, stood | change)
        with pytest.raises(CorruptFileError, match=r"barrier\.json: says other things"):
            barrier_of(one, twin, Place(tmp_path / "out"))


def test_what_fits_is_let_through() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    kept = {"1.weight": torch.ones(2, 4) > 0}
    state = Adam().init([p.detach() for p in net.parameters()])
    for start in (Start(net.state_dict()), Start(net.state_dict(), kept), Start(net.state_dict(), kept, state)):
        check_start(start, net, Adam(), Path("run"))
    with pytest.raises(CorruptFileError, match=r"^run: is of another model \(1\.weight differs\); delete that folder"):
        check_start(Start(net.state_dict(), {"1.weight": torch.ones(4, 2) > 0}), net, Adam(), Path("run"))


def test_alike_and_numbers() -> None:
    assert alike([1, {"a": None}], [0.5, {"a": None}]) and alike([], [])
    assert not alike([1], [1, 2]) and not alike(True, 1) and not alike(1, True) and not alike(None, 1)
    assert is_number(2, 2, 2) and not is_number(2.1, 0, 2) and not is_number(True) and not is_number(float("inf"))
