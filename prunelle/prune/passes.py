"""One pass of a model: watched, or ended at the layer that was waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelle.errors import ModelError
from prunelle.prune.least_squares import is_plain

Taken = TypeVar("Taken")


class Trail:
    """What one pass of a model leaves: the output of each layer that can be solved, and the norm it went to. Final."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        calls: Counter[str] = Counter()
        norm_calls: Counter[_BatchNorm] = Counter()
        seen: dict[int, tuple[str, Tensor]] = {}  # the tensors are held, so that no id is used twice
        readers: dict[str, list[_BatchNorm]] = {}
        self.outputs: dict[str, Tensor] = {}

        def leave(name: str, args: tuple[Any, ...], output: Tensor) -> None:
            calls[name] += 1
            if len(args) == 1:
                seen[id(output)] = name, output
                self.outputs[name] = output.clone()  # the next module may write into it

        def enter(norm: _BatchNorm, args: tuple[Any, ...]) -> None:
            norm_calls[norm] += 1
            if args and id(args[0]) in seen:
                readers.setdefault(seen[id(args[0])][0], []).append(norm)

        with ExitStack() as stack:
            for name, module in model.named_modules():
                if is_plain(module) and uses[id(module.weight)] == 1:
                    hook = module.register_forward_hook(lambda _, args, out, name=name: leave(name, args, out))
                    stack.callback(hook.remove)
                elif isinstance(module, _BatchNorm) and module.running_mean is not None:
                    stack.callback(module.register_forward_pre_hook(enter).remove)
            model(inputs)
        self.outputs = {name: output for name, output in self.outputs.items() if calls[name] == 1}
        self.norms = {name: one[0] for name, one in readers.items() if len(one) == norm_calls[one[0]] == 1}


class _Reached(Exception):
    """Ends a pass once it has given what was wanted of it."""


def outputs_on_the_way(
    model: nn.Module, wanted: Mapping[str, Callable[[Tensor], Taken]], batch: Tensor
) -> dict[str, Taken]:
    """Run the model as far as the last of some layers, and give by name what `wanted` takes of their outputs."""
    found: dict[str, Taken] = {}

    def leave(name: str, output: Tensor) -> None:
        found[name] = wanted[name](output)
        if len(found) == len(wanted):
            raise _Reached

    with ExitStack() as stack:
        for name in wanted:
            hook = model.get_submodule(name).register_forward_hook(lambda _, args, out, name=name: leave(name, out))
            stack.callback(hook.remove)
        run(model, batch, ", ".join(wanted))
    return found


def reached(model: nn.Module, name: str, batch: Tensor) -> Tensor:
    """Run the model as far as one of its layers, and give what comes into it."""
    found: list[Tensor] = []

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(args[0])
        raise _Reached

    hook = model.get_submodule(name).register_forward_pre_hook(enter)
    try:
        run(model, batch, name)
    finally:
        hook.remove()
    return found[0]


def run(model: nn.Module, batch: Tensor, what: str) -> None:
    """Until somebody has what it wanted. Raises ModelError when the pass ends before."""
    try:
        model(batch)
    except _Reached:
        return
    raise ModelError(f"{type(model).__name__}: {what} ran for some inputs only; give inputs for which all of it runs.")
