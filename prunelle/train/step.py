"""One update, as a pure function of weights, buffers, optimizer state, batch and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunelle.train.ddp import ALONE, Ranks
from prunelle.train.losses import Objective
from prunelle.train.optimizers import Optimizer, State
from prunelle.train.precision import FP32, Precision

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Update:
    """What one update is, fixed for a whole training."""

    objective: Objective
    optimizer: Optimizer
    precision: Precision = FP32
    ranks: Ranks = ALONE


@dataclass
class TrainState:
    """All that an update changes. weights and buffers by name; optimizer lists in the weights' order."""

    weights: Weights
    buffers: Weights
    optimizer: State


def init_state(model: nn.Module, optimizer: Optimizer) -> TrainState:
    """The state whose weights and buffers are the model's own tensors; frozen weights are left out."""
    weights: Weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return TrainState(weights, dict(model.named_buffers()), optimizer.init(list(weights.values())))


def update(
    model: nn.Module, state: TrainState, batch: tuple[Tensor, Tensor], rule: Update, lr: float, seed: int, scale=1.0
) -> tuple[TrainState, Tensor]:
    """The state after one batch, and its loss; nothing that was passed in changes.

    batch: (inputs (N, ...), targets (N, ...)). seed: of dropout and the like; torch's global generator is set to it.
    Returns (new state, loss ()); weights and optimizer are as before where the loss or a gradient is not finite.
    The plain version that `update_` is held against.
    """
    weights = {name: w.detach().clone().requires_grad_() for name, w in state.weights.items()}
    buffers = {name: b.clone() for name, b in state.buffers.items()}
    optimizer = {name: [t.clone() for t in tensors] for name, tensors in state.optimizer.items()}

    def forward(inputs: Tensor) -> Tensor:
        return functional_call(model, {**weights, **buffers}, (inputs,))

    loss, gradients = loss_and_gradients(forward, list(weights.values()), batch, rule, seed, scale)
    if all_finite(loss, gradients):
        apply_(list(weights.values()), gradients, optimizer, rule, lr)
    return TrainState({n: w.detach() for n, w in weights.items()}, buffers, optimizer), loss


def update_(
    model: nn.Module, state: TrainState, batch: tuple[Tensor, Tensor], rule: Update, lr: float, seed: int, scale=1.0
) -> tuple[Tensor, bool]:
    """`update` in place on the model's own tensors (`init_state`), without a copy.

    Returns (loss (), applied). Where the loss or a gradient is not finite nothing is applied: the weights stay the
    last good ones.
    """
    weights = list(state.weights.values())
    loss, gradients = loss_and_gradients(model, weights, batch, rule, seed, scale)
    finite = all_finite(loss, gradients)
    if finite:
        apply_(weights, gradients, state.optimizer, rule, lr)
    return loss, finite


def loss_and_gradients(
    forward: Callable[[Tensor], Tensor],
    weights: list[Tensor],
    batch: tuple[Tensor, Tensor],
    rule: Update,
    seed: int,
    scale: float = 1.0,
) -> tuple[Tensor, list[Tensor]]:
    """(mean loss over the global batch (), gradients in the weights' order, scale divided out)."""
    inputs, targets = rule.ranks.share(batch[0]), rule.ranks.share(batch[1])
    seed += rule.ranks.rank  # or every rank would drop the same units
    torch.default_generator.manual_seed(seed)
    if inputs.is_cuda:
        torch.cuda.manual_seed(seed)
    with rule.precision.autocast(inputs.device):
        loss = rule.objective(inputs, forward(inputs), targets)
    gradients = list(torch.autograd.grad(loss if scale == 1.0 else loss * scale, weights, materialize_grads=True))
    if scale != 1.0:
        torch._foreach_div_(gradients, scale)
    loss = loss.detach()
    if rule.ranks.world > 1:
        loss = loss.clone()
        rule.ranks.average_([loss, *gradients], weight=len(inputs) / len(batch[0]))
    return loss, gradients


def apply_(weights: list[Tensor], gradients: list[Tensor], state: State, rule: Update, lr: float) -> None:
    """One optimizer step in place."""
    with torch.no_grad():
        rule.optimizer.update_(weights, gradients, state, lr)


def all_finite(loss: Tensor, gradients: list[Tensor]) -> bool:
    """Whether the loss and every gradient are finite: one reduction a tensor, one answer from the device.

    The 2-norm, because torch's infinity norm is 15 times slower on a CPU; it overflows only above 1e19.
    """
    norms = torch._foreach_norm(gradients, 2)
    return bool(torch.isfinite(torch.stack([loss.float(), *(n.float() for n in norms)])).all())


def snapshot(state: TrainState) -> dict[str, Tensor]:
    """Copies of all weights and buffers by name."""
    return {name: t.detach().clone() for name, t in {**state.weights, **state.buffers}.items()}


def restore_(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Put a snapshot back."""
    with torch.no_grad():
        for name, tensor in {**state.weights, **state.buffers}.items():
            tensor.copy_(tensors[name])


def finite(state: TrainState) -> bool:
    """Whether every weight and buffer is finite."""
    return all(bool(t.isfinite().all()) for t in (*state.weights.values(), *state.buffers.values()))


def zero_share(state: TrainState) -> float:
    """Share of zeros among all trained weights."""
    total = sum(w.numel() for w in state.weights.values())
    return 1 - sum(int(torch.count_nonzero(w)) for w in state.weights.values()) / total
