"""A few updates of a tiny network; no time is asserted."""

import pytest
import torch
from tiny import mlp, small_task, state_of
from torch.nn.functional import cross_entropy

from prunelle.fit import pilot as module
from prunelle.fit.networks import Brought
from prunelle.fit.pilot import WORDS, pilot
from prunelle.graph.cuts import Cuts

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)


def brought() -> Brought:
    return Brought(mlp().eval(), None, Cuts(), "0" * 64)


def test_it_tells_what_an_epoch_takes_and_leaves_network_and_threads(monkeypatch):
    own, calls = brought(), []
    before = state_of(own.model)
    monkeypatch.setattr(module, "seconds_a_call", lambda call: calls.append(call) or 1.0)
    found = pilot(own, small_task(), threads=1)
    # 48 training images are one batch of 48, and the 24 validation images half a batch of forward passes alone
    assert found.epoch_seconds == pytest.approx(1 + 0.5 / 3)
    assert (found.precision, found.threads, len(calls)) == ("fp32", 1, 1)
    monkeypatch.setattr(module, "MACS_FOR_THREADS", 0)
    assert pilot(own, small_task(), threads=1).precision == "fp32" and len(calls) == 1 + len(WORDS)
    assert torch.get_num_threads() == 1
    assert all(torch.equal(before[name], value) for name, value in state_of(own.model).items())


def test_a_number_type_that_the_loss_does_not_bear_is_left_alone(monkeypatch):
    task = small_task()
    monkeypatch.setattr(module, "MACS_FOR_THREADS", 0)

    def only_float32(outputs, targets):
        if outputs.dtype != torch.float32:
            raise RuntimeError("unsafe to autocast")
        return cross_entropy(outputs, targets)

    object.__setattr__(task, "loss", only_float32)
    assert pilot(brought(), task, threads=1).precision == "fp32"


def test_a_loss_that_fails_in_float32_is_not_hidden():
    task = small_task()

    def broken(outputs, targets):
        raise RuntimeError("a mistake in it")

    object.__setattr__(task, "loss", broken)
    with pytest.raises(RuntimeError, match="a mistake in it"):
        pilot(brought(), task, threads=1)
    assert torch.get_num_threads() == 1
