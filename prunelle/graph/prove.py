"""Does the cut module compute what the masked one does? Found out by running both, on random weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.graph.cut import mask_
from prunelle.graph.cuts import Cuts, replay_
from prunelle.graph.folds import fold_
from prunelle.graph.sets import Tied
from prunelle.graph.trace import Inputs, evaluating


@dataclass(frozen=True)
class Proof:
    """error: largest difference over the largest output; infinite when the cut model failed. where: the path of the
    module in which it failed, None when it ran. why: the failure. constant: whether the output is one number."""

    error: float
    where: str | None
    why: str
    constant: bool


def prove(dense: nn.Module, inputs: Inputs, tied: Tied, removed: np.ndarray, cuts: Cuts) -> Proof:
    """Mask one copy of `dense`, cut another, run both. dense: eval mode, any dtype; left as it is."""
    masked, small = copy.deepcopy(dense), copy.deepcopy(dense)
    fold_(small, tied.components, removed, tied.scales, tied.shifts)
    replay_(small, cuts)
    mask_(masked, tied, removed)
    trail: list[str] = []
    with torch.no_grad():
        wanted = outputs(masked(*inputs))
        try:
            with following(small, trail):
                given = outputs(small(*inputs))
        except Exception as error:  # a network may be anybody's code
            return Proof(math.inf, trail[-1] if trail else "", f"{type(error).__name__}: {error}"[:300], False)
    if [w.shape for w in wanted] != [g.shape for g in given]:
        return Proof(math.inf, "", "the output has another shape", False)
    return Proof(worst(wanted, given), None, "", constant(wanted))


def worst(wanted: list[Tensor], given: list[Tensor]) -> float:
    """Largest difference of any output, over that output's largest number."""
    errors = [
        ((w - g).abs().max() / w.abs().max().clamp_min(1e-30)).item()
        for w, g in zip(wanted, given, strict=True)
        if w.is_floating_point() and w.numel()
    ]
    return math.inf if any(math.isnan(e) for e in errors) else max(errors, default=0.0)


def constant(wanted: list[Tensor]) -> bool:
    return all(w.numel() < 2 or bool((w == w.flatten()[0]).all()) for w in wanted)


def outputs(given: Any) -> list[Tensor]:
    """All tensors in what a model gives."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, dict):
        return [t for each in given.values() for t in outputs(each)]
    if isinstance(given, (list, tuple)):
        return [t for each in given for t in outputs(each)]
    return []


@contextmanager
def following(model: nn.Module, trail: list[str]) -> Iterator[None]:
    """Keep in `trail` the paths of the modules that are running; where one fails it stays there."""
    handles = []
    for path, module in model.named_modules():

        def enter(_: nn.Module, __: Any, path: str = path) -> None:
            trail.append(path)

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            trail.pop()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def randomised(model: nn.Module, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A copy in eval mode with every parameter and every norm's statistics drawn anew: zeros and ones hide errors.

    Weights get 1 / sqrt(fan in), scales .5 to 1.5, shifts a tenth.
    """
    generator = torch.Generator().manual_seed(seed)
    with evaluating(model):
        copied = copy.deepcopy(model).to("cpu", dtype)
    for name, tensor in (*copied.named_parameters(), *copied.named_buffers()):
        if not tensor.is_floating_point():
            continue
        is_buffer = not isinstance(tensor, nn.Parameter)
        if is_buffer and not name.endswith(("running_mean", "running_var")):
            continue
        drawn = torch.rand(tensor.shape, generator=generator, dtype=dtype)
        if tensor.ndim > 1:
            spread = math.sqrt(12 / max(1, tensor[0].numel()))
            tensor.copy_((drawn - 0.5) * spread)
        elif name.endswith(("weight", "running_var", "gamma", "scale")):
            tensor.copy_(drawn + 0.5)
        else:
            tensor.copy_((drawn - 0.5) / 5)
    return copied.eval()


def as_double(inputs: Inputs, dtype: torch.dtype = torch.float64) -> Inputs:
    """The same inputs with floats in another type."""
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
