"""classwise/running.py: members in processes of their own give what one after another gives."""

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tiny import seeded
from torch import nn

from prunelle.classwise import running
from prunelle.classwise.running import SideBySide, cost, shared_out, wait_for_more
from prunelle.errors import ShapeError, WorkError
from prunelle.models.members import Members
from prunelle.ship.runtimes import load_runtime

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (1, 2, 6, 6)
GROUPS = ((0, 5), (1,), (2, 3, 4))


def members() -> Members:
    """Three of different sizes and widths."""
    nets = [
        seeded(lambda w=width, o=out: nn.Sequential(nn.Flatten(), nn.Linear(72, w), nn.ReLU(), nn.Linear(w, o)), width)  # type: ignore[misc]
        for width, out in ((4, 3), (9, 1), (6, 4))
    ]
    model = Members(nets, GROUPS).eval()
    model.temperatures.copy_(torch.tensor([1.5, 0.5, 1.0]))
    model.biases.copy_(torch.tensor([0.5, -0.25, 0.0]))
    return model


def images(num: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def beside() -> Iterator[tuple[Members, SideBySide]]:
    """Three members and two workers: one of them has two."""
    model = members()
    with SideBySide(model, "eager", images(), 2) as found:
        yield model, found
    assert not any(other.process.is_alive() for other in found.others)


def test_it_gives_what_the_members_give(beside):
    model, found = beside
    assert [len(other.share) for other in found.others] == [2] and [n for n, _ in found.mine] == [1]
    with torch.no_grad():
        for seed in range(30):
            image = images(seed=seed)
            assert torch.allclose(found(image), model(image), atol=1e-6)


def test_an_image_again_gives_the_same_and_the_image_stays(beside):
    _, found = beside
    image = images(seed=3)
    first = found(image)
    found(images(seed=4))
    assert torch.equal(found(image), first) and torch.equal(image, images(seed=3))


def test_who_has_looked_long_enough_sleeps_at_the_pipe_and_is_woken_there(monkeypatch):
    monkeypatch.setattr(running, "SPIN_SECONDS", 0.0)
    said = np.array([3, 3])
    naps = []

    class Pipe:
        def poll(self, seconds):
            naps.append(seconds)
            said[running.SAID] += len(naps) == 2
            return len(naps) == 2

        def recv_bytes(self):
            assert said.tolist() == [4, 3]

    wait_for_more(said, Pipe())
    assert naps == [running.NAP_SECONDS] * 2
    wait_for_more(said, None)  # there is an image: nothing is waited for


def test_who_sleeps_while_the_other_end_goes_wakes_up_to_end(monkeypatch):
    monkeypatch.setattr(running, "SPIN_SECONDS", 0.0)
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(EOFError):
        wait_for_more(np.array([3, 3]), ours)


@pytest.mark.parametrize("shape", [(2, 2, 6, 6), (1, 2, 6, 5), (2, 6, 6)])
def test_only_images_of_the_one_shape(beside, shape):
    _, found = beside
    with pytest.raises(ShapeError) as caught:
        found(torch.zeros(shape))
    assert str(caught.value) == f"members: images are {shape}, must be {SHAPE}: one at a time."


def test_alone_there_is_no_other_process():
    model = members()
    with SideBySide(model, "eager", images(4), 1) as found, torch.no_grad():
        assert found.others == []
        assert torch.allclose(found(images()), model(images()), atol=1e-6)


def test_a_process_that_dies_is_told_and_its_end_is_clean():
    model = members()
    found = SideBySide(model, "eager", images(), 2)
    try:
        (other,) = found.others
        other.process.kill()
        other.process.join()
        for _ in range(2):
            with pytest.raises(WorkError, match=r"^members: a process died; open the network again\.$"):
                found(images())
    finally:
        found.close()
        found.close()
    assert not other.process.is_alive()


class Unwilling(nn.Module):
    """Comes through a pipe in one piece, and does not run there."""

    def forward(self, x):
        return x.flatten(1)[:, :3]

    def __setstate__(self, state):
        raise RuntimeError("cannot be opened here")


def test_a_process_that_cannot_open_its_networks_is_told_and_ended(capfd):
    model = members()
    nets = [Unwilling(), *model.members[1:]]
    ended = []
    end = running.Other.end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running.Other, "end", lambda self: (ended.append(self), end(self)))
        patch.setattr(running, "shared_out", lambda costs, workers: [[1, 2], [0]])
        with pytest.raises(WorkError, match=r"^members: a process could not open its networks; .* `if __name__ =="):
            SideBySide(Members(nets, GROUPS).eval(), "eager", images(), 2)
    assert ended and not any(one.process.is_alive() for one in ended)
    capfd.readouterr()


def test_a_runtime_that_is_none_is_refused_before_any_process_starts(monkeypatch):
    monkeypatch.setattr(running, "Other", None)
    with pytest.raises(Exception, match="abacus"):
        SideBySide(members(), "abacus", images(), 2)


def test_shares_by_hand():
    assert shared_out([5.0, 3.0, 3.0, 1.0], 2) == [[0, 3], [1, 2]]
    assert shared_out([1.0, 9.0], 1) == [[1, 0]]
    assert shared_out([2.0, 2.0, 2.0], 3) == [[0], [1], [2]]
    assert cost(members().members[0]) == 72 * 4 + 4 + 4 * 3 + 3


def test_every_member_has_one_worker_and_none_is_idle():
    for workers in range(1, 11):
        shares = shared_out([float(n % 4 + 1) for n in range(10)], workers)
        assert sorted(n for share in shares for n in share) == list(range(10)) and all(shares)
        assert len(shares) == workers


def test_combining_is_the_models_own(beside):
    model, found = beside
    with torch.no_grad():
        outputs = [load_runtime("eager")(member, images(), 1)(images()) for member in model.members]
        assert torch.allclose(found(images()), model.combine(outputs), atol=1e-6)
