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
from torch._subclasses.fake_tensor import FakeTensorMode

from prunelle.graph.attributes import KNOWN
from prunelle.graph.copies import shell
from prunelle.graph.cut import mask_
from prunelle.graph.cuts import Cuts, replay_
from prunelle.graph.folds import fold_
from prunelle.graph.sets import Tied
from prunelle.graph.trace import Inputs, module_of, quiet, without_fast_path
from prunelle.graph.value import Value

CLOSE = 1e-6


@dataclass(frozen=True)
class Proof:
    """error: largest difference over the largest output; infinite when the cut model failed. where: the path of the
    module that is to blame, None when there is none. raised: whether it failed. why: in words."""

    error: float
    where: str | None = None
    raised: bool = False
    why: str = ""
    constant: bool = False

    @property
    def holds(self) -> bool:
        return self.error <= CLOSE


def prove(dense: nn.Module, inputs: Inputs, tied: Tied, removed: np.ndarray, cuts: Cuts) -> Proof:
    """Mask one copy of `dense`, cut another, run both. dense: eval mode, any float type; left as it is."""
    small = cut_copy(dense, tied, removed, cuts)
    failed = rehearse(small, inputs)
    if failed is not None:
        return failed
    masked = shell(dense)
    mask_(masked, tied, removed)
    with torch.no_grad(), without_fast_path():
        wanted = outputs(masked(*inputs))
        try:
            with following(small) as trail:
                given = outputs(small(*inputs))
        except Exception as error:  # a network may be anybody's code
            return Proof(math.inf, trail[-1] if trail else "", True, said(error))
    if [w.shape for w in wanted] != [g.shape for g in given]:
        return Proof(math.inf, "", True, "the output has another shape")
    error = worst(wanted, given)
    if error <= CLOSE:
        return Proof(error, constant=constant(wanted))
    where = locate(masked, small, inputs, tied, removed)
    return Proof(error, where, False, f"its values differ by {error:.1e}")


def cut_copy(dense: nn.Module, tied: Tied, removed: np.ndarray, cuts: Cuts) -> nn.Module:
    """A cut shell of `dense`; what was not cut is still shared."""
    small = shell(dense)
    fold_(small, tied.components, removed, tied.scales, tied.shifts)
    replay_(small, cuts)
    return small


def rehearse(small: nn.Module, inputs: Inputs) -> Proof | None:
    """Run the cut module on shapes alone: most hard-wired sizes show there, at next to no cost."""
    copied = shell(small)
    with torch.no_grad(), quiet(), without_fast_path(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(x) if isinstance(x, Tensor) else x for x in inputs]
        try:
            with following(copied) as trail:
                copied(*fakes)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            if "fake" in str(error).lower() or "meta" in str(error).lower() or "data-dependent" in str(error).lower():
                return None  # about this way of running, not about the sizes
            return Proof(math.inf, trail[-1] if trail else "", True, said(error))
        except Exception:
            return None
    return None


def said(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


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

    def keep(path: str, given: Any) -> None:
        if isinstance(given, Tensor) and path in last and path not in kept and given.shape == last[path].shape:
            part = given
            for position, axis in enumerate(last[path].axes):
                stays = np.flatnonzero(~removed[tied.components.root[axis.labels]])
                if len(stays) < len(axis):
                    part = part.index_select(position, torch.from_numpy(stays))
            kept[path] = part.clone()

    def compare(path: str, given: Any) -> None:
        wanted = kept.pop(path, None)
        if wanted is None or first or not isinstance(given, Tensor):
            return
        if wanted.shape != given.shape or worst([wanted], [given]) > CLOSE:
            first.append(path)

    with torch.no_grad(), without_fast_path():
        with following(masked, keep):
            masked(*inputs)
        with following(small, compare):
            small(*inputs)
    path = first[0] if first else ""
    return path.rpartition(".")[0] if isinstance(tied.state.modules.get(path), KNOWN) else path
