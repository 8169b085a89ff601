"""Does the cut module compute what the masked one does? Found out by running both, on random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.graph.copies import shell
from prunelle.graph.cut import mask_
from prunelle.graph.cuts import Cuts, replay_
from prunelle.graph.folds import fold_
from prunelle.graph.known_layers import KNOWN
from prunelle.graph.sets import Tied
from prunelle.graph.trace import Inputs, module_of, without_fast_path
from prunelle.graph.value import Value

CLOSE = {torch.float64: 1e-6, torch.float32: 1e-3}


@dataclass(frozen=True)
class Proof:
    """error: largest difference over the largest output; infinite when the cut model failed. where: the path of the
    module that is to blame, None when there is none. raised: whether it failed. why: in words."""

    error: float
    where: str | None = None
    raised: bool = False
    why: str = ""
    constant: bool = False

    def holds(self, dtype: torch.dtype) -> bool:
        """Whether the difference is rounding."""
        return self.error <= CLOSE[dtype]


def prove(dense: nn.Module, inputs: Inputs, tied: Tied, removed: np.ndarray, cuts: Cuts) -> Proof:
    """Mask one copy of `dense`, cut another, run both. dense: eval mode, any float type; left as it is."""
    small = cut_copy(dense, tied, removed, cuts)
    masked = shell(dense)
    mask_(masked, tied, removed)
    with torch.no_grad(), without_fast_path():
        try:
            with following(small) as trail:
                given = outputs(small(*inputs))
        except Exception as failure:  # a network may be anybody's code
            return Proof(math.inf, to_blame(tied, trail[-1] if trail else ""), True, said(failure))
        wanted = outputs(masked(*inputs))
    if [w.shape for w in wanted] != [g.shape for g in given]:
        return Proof(math.inf, "", True, "the output has another shape")
    error = worst(wanted, given)
    if error <= close(inputs):
        return Proof(error, constant=constant(wanted))
    where = locate(masked, small, inputs, tied, removed)
    return Proof(error, where, False, f"its values differ by {error:.1e}")


def cut_copy(dense: nn.Module, tied: Tied, removed: np.ndarray, cuts: Cuts) -> nn.Module:
    """A cut shell of `dense`; what was not cut is still shared."""
    small = shell(dense)
    fold_(small, tied.components, removed, tied.scales, tied.shifts)
    replay_(small, cuts)
    return small


def said(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def runs(model: nn.Module, inputs: Inputs) -> bool:
    """Whether a model takes these inputs at all: one that makes float32 tensors itself does not take float64."""
    try:
        with torch.no_grad(), without_fast_path():
            model(*inputs)
    except Exception:  # a network may be anybody's code
        return False
    return True


def close(inputs: Inputs) -> float:
    """What counts as rounding for these inputs."""
    kinds = [x.dtype for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
    return CLOSE.get(kinds[0], CLOSE[torch.float64]) if kinds else CLOSE[torch.float64]


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
def following(model: nn.Module, leave: Callable[[str, Any], None] | None = None) -> Iterator[list[str]]:
    """The paths of the modules that are running; where one fails, its path stays. leave: told each one's output."""
    trail: list[str] = []
    handles = []
    for path, module in model.named_modules():

        def enter(_: nn.Module, __: Any, path: str = path) -> None:
            trail.append(path)

        def leaves(_: nn.Module, __: Any, given: Any, path: str = path) -> None:
            trail.pop()
            if leave is not None:
                leave(path, given)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leaves)]
    try:
        yield trail
    finally:
        for handle in handles:
            handle.remove()


def locate(masked: nn.Module, small: nn.Module, inputs: Inputs, tied: Tied, removed: np.ndarray) -> str:
    """The path of the module in whose own forward the values first differ."""
    last: dict[str, Value] = {}
    for node, value in tied.state.values.items():
        if isinstance(value, Value) and node.op == "call_function":
            path = module_of(node)
            while True:
                last[path] = value
                if not path:
                    break
                path = path.rpartition(".")[0]
    kept: dict[str, Tensor] = {}
    first: list[str] = []

    def keep(path: str, found: Any) -> None:
        given = next(iter(outputs(found)), None)
        if given is not None and path in last and path not in kept and given.shape == last[path].shape:
            part = given
            for position, axis in enumerate(last[path].axes):
                stays = np.flatnonzero(~removed[tied.components.root[axis.labels]])
                if len(stays) < len(axis):
                    part = part.index_select(position, torch.from_numpy(stays))
            kept[path] = part.clone()

    def compare(path: str, found: Any) -> None:
        wanted, part = kept.pop(path, None), next(iter(outputs(found)), None)
        if wanted is None or first or part is None:
            return
        if wanted.shape != part.shape or worst([wanted], [part]) > CLOSE.get(wanted.dtype, 0.0):
            first.append(path)

    with torch.no_grad(), without_fast_path():
        with following(masked, keep):
            masked(*inputs)
        with following(small, compare):
            small(*inputs)
    return to_blame(tied, first[0] if first else "")


def to_blame(tied: Tied, path: str) -> str:
    """The module itself, or the one around a layer of torch's: that is right, what reaches it is not."""
    module = tied.state.modules.get(path)
    computes = not isinstance(module, KNOWN) or isinstance(module, nn.MultiheadAttention)
    return path if computes else path.rpartition(".")[0]
