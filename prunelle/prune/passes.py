"""One pass of a model: watched, or ended at the layer that was waited for."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelle.errors import ModelError
from prunelle.prune.least_squares import is_plain


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
    """Ends a pass at the layer that was waited for."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor


def reached(model: nn.Module, name: str, batch: Tensor, what: Literal["input", "output"]) -> Tensor:
    """Run the model as far as one of its layers, and give that layer's input or output."""

    def stop(module: nn.Module, args: tuple[Any, ...], *output: Tensor) -> None:
        raise _Reached(output[0] if output else args[0])

    module = model.get_submodule(name)
    hook = module.register_forward_hook(stop) if what == "output" else module.register_forward_pre_hook(stop)
    try:
        model(batch)
    except _Reached as found:
        return found.tensor
    finally:
        hook.remove()
    raise ModelError(f"{type(model).__name__}: {name} runs for some inputs only; give inputs for which it always runs.")
