"""Which networks can be trained many at once: what is known by looking, and what a trial shows."""

from __future__ import annotations

import copy

import torch
from torch import nn

from prunelle.tickets.fused_layers import FUSED_KINDS, fuse
from prunelle.tickets.fused_rows import Layout, load_
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.step import Update

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
TOLERANCE = 1e-9
"""Of the largest output, in float64."""


def fusable(model: nn.Module, rule: Update | None = None, input_shape: tuple[int, ...] | None = None) -> str | None:
    """Why this network, or this update, cannot be trained many at once, as a sentence; None where it can.

    input_shape: (C, H, W); with it a trial is made too, see `differs_on_trial`.
    """
    return (
        next((reason for name, layer in model.named_modules() if (reason := layer_reason(name, layer))), None)
        or tensors_reason(model)
        or (rule_reason(rule) if rule is not None else None)
        or (differs_on_trial(model, input_shape) if input_shape is not None else None)
    )


def layer_reason(name: str, layer: nn.Module) -> str | None:
    where = f"{name or 'the model'} ({type(layer).__name__})"
    if any(getattr(layer, hooks) for hooks in HOOKS):
        return f"{where} has a hook, which would see all members at once; remove it or train one by one."
    if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
        return f"{where} drops other units than in a training of its own; pass p=0 or train one by one."
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"{where} pads by {layer.padding_mode!r}, must be 'zeros'; train one by one."
    if type(layer) not in FUSED_KINDS and (own_tensors(layer) or isinstance(layer, nn.modules.batchnorm._BatchNorm)):
        kinds = ", ".join(kind.__name__ for kind in FUSED_KINDS)
        return f"{where} holds tensors of its own, which only {kinds} may; train one by one."
    return None


def own_tensors(layer: nn.Module) -> bool:
    return any(t is not None for t in (*layer._parameters.values(), *layer._buffers.values()))


def tensors_reason(model: nn.Module) -> str | None:
    """Tied tensors, several types or places, nothing to train."""
    parameters = list(model.parameters())
    names: dict[int, list[str]] = {}
    for name, tensor in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)):
        names.setdefault(id(tensor), []).append(name)
    tied = next((same for same in names.values() if len(same) > 1), None)
    if tied:
        return f"{' and '.join(tied)} are one tensor, must be two; untie them or train one by one."
    if not any(p.requires_grad for p in parameters):
        return "the model has nothing to train, must have weights with requires_grad; train something else."
    kinds = sorted({f"{p.dtype} on {p.device}" for p in parameters})
    if len(kinds) > 1:
        return f"weights are {', '.join(kinds)}, must be of one type in one place; convert the model."
    return None


def rule_reason(rule: Update) -> str | None:
    if rule.precision.dtype is not None:
        return f"precision is {rule.precision.dtype}, must be fp32; train one by one."
    if rule.ranks.world > 1:
        return f"there are {rule.ranks.world} ranks, must be one; start it without torchrun."
    if type(rule.optimizer) not in (Sgd, Adam):
        name = type(rule.optimizer).__name__
        return f"optimizer {name} may look at more than one number at a time, must be Sgd or Adam; train one by one."
    return None


@torch.no_grad()
def differs_on_trial(model: nn.Module, input_shape: tuple[int, ...]) -> str | None:
    """Why two members do not give together what each gives alone, on three random images each in float64; None where
    they do. Finds what looking does not: a forward that mixes examples, draws random numbers or reads a layer's
    weights itself."""
    device = next(model.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    solos = [copy.deepcopy(model).double().train() for _ in range(2)]
    for weight in solos[1].parameters():
        weight.mul_(1 + 0.1 * torch.rand(weight.shape, generator=drawn, dtype=torch.float64).to(device))
    images = torch.randn(2, 3, *input_shape, generator=drawn, dtype=torch.float64).to(device)
    both = fuse(solos[0], 2, not images.is_cuda, channels_last=False)
    load_(both, Layout(both), [solo.state_dict() for solo in solos])
    with torch.random.fork_rng(devices=[]):
        alone = torch.cat([solo(part) for solo, part in zip(solos, images, strict=True)])
        try:
            together = both(images.flatten(0, 1))
        except Exception as error:  # the user's forward may raise anything
            return f"its forward fails on the batches of two members laid end to end ({error}); train one by one."
    if together.shape != alone.shape:
        return (
            f"its outputs are {tuple(together.shape)}, must be {tuple(alone.shape)} for six images; train one by one."
        )
    off = float((together - alone).abs().max())
    if not off <= TOLERANCE * (1 + float(alone.abs().max())):
        return f"its forward mixes examples or draws random numbers (outputs are off by {off:.1e}); train one by one."
    return None
