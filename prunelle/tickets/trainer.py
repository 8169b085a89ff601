"""What steps several trainings of one network at once: the promise, and the plainest way to keep it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.prune.masks import zero_
from prunelle.train.layout import best_layout
from prunelle.train.optimizers import State
from prunelle.train.step import TrainState, Update, init_state, update_


@dataclass(frozen=True)
class Start:
    """Where one member begins. tensors: weights and buffers by the names of `state_dict`. kept: a bool mask for each
    prunable weight, True = trained, False = 0 for good; none = all trained. optimizer: its state in the order of the
    model's parameters, fresh where empty."""

    tensors: Mapping[str, Tensor] = field(repr=False)
    kept: Mapping[str, Tensor] = field(repr=False, default_factory=dict)
    optimizer: State = field(repr=False, default_factory=dict)


class Trainer(Protocol):
    """Members are numbered from 0 in the order of their starts; after `keep_` in the order given there."""

    @property
    def num_members(self) -> int: ...

    def step_(self, batches: Sequence[Batch], lrs: Sequence[float], seeds: Sequence[int]) -> Tensor:
        """One update of every member.

        batches: one a member, all of one size; members of one data order are given the very same tensors. seeds: of
        dropout. Returns each member's mean loss before the update (num_members,), float, on the CPU.
        A member whose loss is not finite is spoiled; the others are not touched by that.
        """

    def tensors(self, member: int) -> dict[str, Tensor]:
        """Copies of a member's weights and buffers by name, whole tensors, +0 where not kept."""

    def optimizer(self, member: int) -> State:
        """Copies of a member's optimizer state, whole tensors, in the order of the model's parameters. What belongs
        to weights that are not kept may be anything."""

    def keep_(self, members: Sequence[int]) -> None:
        """Go on with these members only; what the others took is given back."""


class PlainTrainer:
    """One member after the other by `train.step.update_`: what the faster ones are held against. Final."""

    def __init__(
        self, model: nn.Module, starts: Sequence[Start], rule: Update, input_shape: tuple[int, int, int]
    ) -> None:
        self.rule = rule
        self.members = [begin(model, start, rule, input_shape) for start in starts]

    @property
    def num_members(self) -> int:
        return len(self.members)

    def step_(self, batches: Sequence[Batch], lrs: Sequence[float], seeds: Sequence[int]) -> Tensor:
        losses = []
        for member, batch, lr, seed in zip(self.members, batches, lrs, seeds, strict=True):
            loss, _ = update_(member.model, member.state, batch, self.rule, lr, seed)
            if member.held:
                with torch.no_grad():
                    torch._foreach_mul_(member.held, member.masks)
            losses.append(loss.float())
        return torch.stack(losses).cpu()

    def tensors(self, member: int) -> dict[str, Tensor]:
        one = self.members[member]
        found = {n: t.detach().clone().contiguous() for n, t in one.model.state_dict().items()}
        zero_(found, one.kept)
        return found

    def optimizer(self, member: int) -> State:
        return {q: [t.clone().contiguous() for t in ts] for q, ts in self.members[member].state.optimizer.items()}

    def keep_(self, members: Sequence[int]) -> None:
        self.members = [self.members[m] for m in members]


@dataclass
class Member:
    """One training in progress. held: the weights under a mask. masks: 1 where kept, else 0, laid out as they are."""

    model: nn.Module
    state: TrainState
    kept: dict[str, Tensor]
    held: list[Tensor]
    masks: list[Tensor]


def begin(model: nn.Module, start: Start, rule: Update, input_shape: tuple[int, int, int]) -> Member:
    """A copy of `model` that stands where `start` says."""
    own = copy.deepcopy(model)
    own.load_state_dict(dict(start.tensors))
    own.train().to(memory_format=best_layout(own, input_shape))  # type: ignore[call-overload]
    state = init_state(own, rule.optimizer)
    zero_(state.weights, start.kept)
    for quantity, tensors in start.optimizer.items():
        for mine, given in zip(state.optimizer[quantity], tensors, strict=True):
            mine.copy_(given)
    held = [state.weights[name] for name in start.kept]
    masks = [torch.empty_like(w).copy_(m) for w, m in zip(held, start.kept.values(), strict=True)]
    return Member(own, state, dict(start.kept), held, masks)
