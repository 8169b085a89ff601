"""A few random networks, and that the trial of one finds what is wrong. benchmarks/random_graphs.py tries thousands."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from random_nets import Piece, RandomNet, build, draw, example
from random_trial import smallest, trial
from torch import nn
from zeroed import outputs

from prunelle.errors import ModelError
from prunelle.graph.cuts import Attribute, Cut, Cuts, replay_
from prunelle.prune.channels import plan_channels

NUM_NETS = 30
PLAIN = [Piece("tokens", 5), Piece("Moved", 1), Piece("Moved", 1), Piece("Head", 1)]


@dataclass
class Plan:
    cuts: Cuts
    frozen: tuple = ()
    factor: float = 1.0

    def apply(self, model: nn.Module) -> nn.Module:
        small = copy.deepcopy(model)
        replay_(small, self.cuts)
        return small


def by_hand(model: RandomNet, shift: int = 0) -> Cuts:
    """Half of what the second piece's first layer makes; shift: read others than were kept."""
    width = model.pieces[1].first.out_features
    kept, read = list(range(0, width, 2)), list(range(shift, width, 2))
    rows = [Cut(tensor=f"pieces.1.first.{name}", axis=0, kept=kept) for name in ("weight", "bias")]
    return Cuts(tensors=[*rows, Cut(tensor="pieces.1.last.weight", axis=1, kept=read)])


def right(model, inputs, amount):
    return Plan(by_hand(model))


def wrong(model, inputs, amount):
    return Plan(by_hand(model, shift=1))


def refuses(model, inputs, amount):
    raise ModelError("not this one")


def breaks(model, inputs, amount):
    raise KeyError("node")


def misfits(model, inputs, amount):
    return Plan(Cuts(tensors=by_hand(model).tensors[:2]))


def cannot_apply(model, inputs, amount):
    cuts = by_hand(model)
    return Plan(cuts.model_copy(update={"attributes": [Attribute(module="pieces.1.first", name="none", value=1)]}))


def touches(model, inputs, amount):
    with torch.no_grad():
        model.pieces[1].first.bias.add_(1)
    return Plan(Cuts())


def nothing(model, inputs, amount):
    return Plan(Cuts())


STATUS = {
    right: "exact",
    wrong: "differs",
    refuses: "refused",
    breaks: "plan_error",
    misfits: "forward_error",
    cannot_apply: "apply_error",
    touches: "changed",
    nothing: "nothing_cut",
}


@pytest.mark.parametrize("planner", STATUS, ids=lambda planner: planner.__name__)
def test_a_trial_tells_right_from_wrong(planner):
    found = trial(0, planner, PLAIN)
    assert found.status == STATUS[planner], found.reason
    assert found.wrong == (planner not in (right, refuses, nothing))


def test_the_smallest_failure_has_no_piece_to_spare():
    found = smallest(0, wrong, trial(0, wrong, PLAIN))
    assert found.status == "differs" and found.pieces == [PLAIN[0], PLAIN[1], PLAIN[3]]


def test_a_seed_is_a_network():
    for seed in range(5):
        pieces = draw(seed)
        inputs = (example(pieces[0].kind, 2, seed),)
        first, second = build(pieces), build(draw(seed))
        assert str(first) == str(second) and first.told == second.told
        assert all(torch.equal(a, b) for a, b in zip(outputs(first, inputs), outputs(second, inputs), strict=True))
    assert len({str(build(draw(seed)).told) for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(NUM_NETS))
@pytest.mark.usefixtures("one_thread")
def test_a_random_network_is_cut_right_or_not_at_all(seed):
    found = trial(seed, plan_channels)
    assert not found.wrong, f"{found.status}: {found.reason} {found.pieces} {found.told}"


@pytest.mark.usefixtures("one_thread")
def test_a_plan_that_is_spoilt_is_found():
    """The pruner's own plans, with one consumer reading other channels: the trial must not let them pass."""
    met = 0
    for seed in range(10):

        def spoilt(model, inputs, amount):
            plan = plan_channels(model, inputs, amount=amount)
            return SimpleNamespace(cuts=plan.cuts, frozen=(), apply=lambda dense: perturbed(plan.apply(dense)))

        found = trial(seed, spoilt)
        if found.status != "refused":
            assert found.status == "differs"
            met += 1
    assert met >= 5


def perturbed(model: nn.Module) -> nn.Module:
    """Two rows of the first weight with several exchanged: what a cut along the wrong indices does."""
    weight = next(one for one in model.parameters() if one.ndim > 1 and len(one) > 1)
    with torch.no_grad():
        weight[:2] = weight[:2].flip(0)
    return model
