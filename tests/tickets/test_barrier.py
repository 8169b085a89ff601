from pathlib import Path

import pytest
import torch
from small_lotteries import TASK, Loop, everyone, lottery, searched, trained
from tiny import same_bits
from torch import nn

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.task import Preprocessing, Task
from prunelle.errors import ModelError
from prunelle.files import read_sealed_json
from prunelle.tickets.barrier import Pair, barrier, barrier_of, between, errors_between, measure_barrier
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Place, folder_of

pytestmark = pytest.mark.usefixtures("one_thread")
TICKET, TWIN = Member(0, 0.5, 0, "ticket"), Member(0, 0.5, 0, "twin")


def line_net(weight: float, bias: float) -> nn.Module:
    """Class 1 where weight * pixel + bias > 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[0.0], [weight]]))
        net[1].bias.copy_(torch.tensor([0.0, bias]))
    return net.eval()


def pixels() -> Task:
    """Four images of one pixel at -1, -.2, .2 and 1; the bright two are of class 1."""
    import numpy as np

    images = np.array([0, 102, 153, 255], dtype=np.uint8).reshape(4, 1, 1, 1)
    part = Arrays(images, np.array([0, 0, 1, 1]))
    return ArraySet("pixels", part, part, part, Preprocessing(mean=(0.5,), std=(0.5,)), ("dark", "bright")).task()


def test_a_barrier_by_hand() -> None:
    assert barrier([0.1, 0.4, 0.2]) == pytest.approx(0.25)
    assert barrier([0.2, 0.1, 0.2]) == 0.0  # lower in between is no barrier
    assert barrier([0.0, 0.1]) == pytest.approx(0.05)


def test_errors_along_a_line_by_hand() -> None:
    # 4 x + 1.9 share is above 0 for the pixel at -.2 from share .43 on.
    errors = errors_between(line_net(4.0, 0.0), line_net(4.0, 1.9), pixels(), num_points=6)
    assert errors == [0.0, 0.0, 0.0, 0.25, 0.25, 0.25] and barrier(errors) == 0.125


def test_a_barrier_between_two_that_are_right() -> None:
    # f = a * (b * x) with (a, b) = (1, 1) and (-1, -1): the same function; half way between, all is 0 and says dark.
    def two(sign: float) -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False))
        with torch.no_grad():
            net[1].weight.fill_(sign)
            net[2].weight.copy_(torch.tensor([[0.0], [sign]]))
        return net.eval()

    errors = errors_between(two(1.0), two(-1.0), pixels(), num_points=3)
    assert errors == [0.0, 0.5, 0.0] and barrier(errors) == 0.5


def test_between_a_network_and_itself_nothing_rises() -> None:
    first, second = line_net(1.0, 0.3), line_net(1.0, 0.3)
    errors = errors_between(first, second, pixels())
    assert len(errors) == 11 and set(errors) == {0.25} and barrier(errors) == 0.0
    assert same_bits(first.state_dict(), line_net(1.0, 0.3).state_dict())


def test_counters_are_not_mixed_and_others_are_refused() -> None:
    first = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    found = between(first, {"w": torch.tensor([4.0, 2.0]), "n": torch.tensor(9)}, 0.25)
    assert found["w"].tolist() == [1.0, 2.0] and found["n"] == 3
    with pytest.raises(ModelError, match="barrier: the two networks differ in names or shapes; give two trainings"):
        between(first, {"w": torch.zeros(3), "n": torch.tensor(9)}, 0.5)


def test_it_stands_beside_the_twin_and_is_measured_once(tmp_path: Path) -> None:
    one = lottery(tmp_path, controls=("twin",), epochs=1)
    place = Place(tmp_path)
    trained(one, tmp_path, dense(0))
    trained(one, tmp_path, TICKET, TWIN)
    assert barrier_of(one, TWIN, place) is None
    measure_barrier(Pair(one, place, TWIN), TASK)
    path = folder_of(one, TWIN, place) / "barrier.json"
    told, when = read_sealed_json(path), path.stat().st_mtime_ns
    assert len(told["errors"]) == 11 and told["barrier"] == barrier(told["errors"]) == barrier_of(one, TWIN, place)
    measure_barrier(Pair(one, place, TWIN), TASK)
    assert path.stat().st_mtime_ns == when


def test_a_search_measures_those_of_its_twins(tmp_path: Path) -> None:
    one = lottery(tmp_path, controls=("twin", "random"), epochs=1)
    engine = Loop()
    found = searched(one, tmp_path, engine=engine)
    assert list(found.barriers) == [TWIN] and found.barriers[TWIN] == barrier_of(one, TWIN, Place(tmp_path))
    assert sum(isinstance(job, Pair) for job in engine.jobs) == 1 and TWIN in everyone(one)
