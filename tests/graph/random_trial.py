"""One random network planned, cut and compared with its zeroed reference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

import torch
from random_nets import Piece, build, draw, example
from torch import nn
from zeroed import NoReference, relative_error, zeroed

from prunelle.errors import PrunelleError

LARGEST_ERROR = 1e-9
AMOUNTS = (0.25, 0.5, 0.75)
WRONG = ("differs", "forward_error", "plan_error", "apply_error", "no_reference", "changed")
Planner = Callable[..., Any]


@dataclass
class Trial:
    """status: exact, nothing_cut, refused, or what went wrong. error: of the outputs in units of the largest.

    effect: how far zeroing moved the outputs, in the same units: 0 would make the comparison an empty one. cut: the
    kinds of pieces of which a tensor was cut.
    """

    seed: int
    amount: float
    pieces: list[Piece]
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: str = "exact"
    reason: str = ""
    error: float = 0.0
    effect: float = 0.0
    cut: list[str] = field(default_factory=list)
    frozen: list[tuple[str, str]] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        return self.status in WRONG

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trial(seed: int, plan_channels: Planner, pieces: Sequence[Piece] | None = None) -> Trial:
    """Plan, cut and compare network number `seed`, or these pieces in its place."""
    amount = Random(seed).choice(AMOUNTS)
    one = Trial(seed, amount, list(pieces or draw(seed)))
    model = build(one.pieces)
    one.told = model.told
    inputs = (example(one.pieces[0].kind, 2, seed),)
    before = copy.deepcopy(model)
    try:
        plan = plan_channels(model, inputs, amount=amount)
    except PrunelleError as error:
        return ended(one, "refused", error)
    except Exception as error:
        return ended(one, "plan_error", error)
    if not same(before, model):
        return ended(one, "changed", ValueError("the model given is no longer what it was"))
    one.frozen = [(str(item.what), str(item.why)) for item in plan.frozen]
    one.cut = sorted({kind_of(cut.tensor, one.pieces) for cut in plan.cuts.tensors})
    return compare(one, plan, before.double())


def compare(one: Trial, plan: Any, dense: nn.Module) -> Trial:
    """The cut network against its reference, in float64, for two sizes of batch."""
    try:
        small = plan.apply(copy.deepcopy(dense))
    except Exception as error:
        return ended(one, "apply_error", error)
    try:
        reference = zeroed(dense, plan.cuts)
    except NoReference as error:
        return ended(one, "no_reference", error)
    for batch in (2, 3):
        x = example(one.pieces[0].kind, batch, one.seed + 1)
        inputs = (x.double() if x.is_floating_point() else x,)
        try:
            off = relative_error(small, reference, inputs)
        except Exception as problem:
            return ended(one, "forward_error", problem)
        one.error = max(one.error, off)
        one.effect = max(one.effect, relative_error(dense, reference, inputs))
    if one.error > LARGEST_ERROR:
        return ended(one, "differs", ValueError(f"off by {one.error:.3g}"))
    one.status = "exact" if plan.cuts.tensors else "nothing_cut"
    return one


def ended(one: Trial, status: str, error: Exception) -> Trial:
    one.status, one.reason = status, f"{type(error).__name__}: {error}"[:600]
    return one


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def kind_of(tensor: str, pieces: Sequence[Piece]) -> str:
    """The kind of the piece that holds this tensor."""
    room, number = tensor.split(".")[:2]
    return "head" if room == "head" else pieces[int(number)].kind


def smallest(seed: int, plan_channels: Planner, found: Trial) -> Trial:
    """The same kind of failure with as few pieces as leaving out one at a time can reach."""
    best = found
    again = True
    while again:
        again = False
        for gone in range(1, len(best.pieces) - 1):
            pieces = [piece for number, piece in enumerate(best.pieces) if number != gone]
            try:
                tried = trial(seed, plan_channels, pieces)
            except Exception:  # these pieces do not fit each other
                continue
            if tried.status == found.status:
                best, again = tried, True
                break
    return best
