"""How many multiply-adds one forward pass costs, and how many of them meet a weight that is not zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunelle.errors import ModelError, PrunelleError
from prunelle.measure.operators import OPERANDS, SEVERAL_WEIGHTS, formula, is_free

MACS_FOR_THREADS = 10_000_000
"""Multiply-adds an image from which several threads train faster than one: LeNet-5 has 2.3 million, ResNet-20 40.6."""


@dataclass(frozen=True)
class LayerMacs:
    """name: of the module that holds the weight, else of the one that ran ('' is the model itself).

    macs: multiply-adds. macs_nonzero: those whose weight is not 0. params, nnz: of the module's own parameters.
    """

    name: str
    macs: int
    macs_nonzero: int
    params: int
    nnz: int


@dataclass(frozen=True)
class MacCount:
    """layers: in the order they first ran. uncounted: operator -> calls, for those that no rule covers."""

    layers: tuple[LayerMacs, ...]
    uncounted: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def nonzero(self) -> int:
        return sum(layer.macs_nonzero for layer in self.layers)


def count_macs(model: nn.Module, inputs: Tensor | tuple[Tensor, ...]) -> MacCount:
    """Run the model once, in eval mode and without gradients, and count; the model stays as it was.

    inputs: what the model is called with, on its device; the count is for all of it, so pass a batch of 1 for the
    cost of one image.
    A multiply-add is 1. Convolutions (padding included), matrix products, attention (masked positions included) and
    recurrent layers count. By convention biases, elementwise operators, norms, pooling, softmax, reductions, copies
    and indexing count 0. Whatever else runs is named in `uncounted`, and the total is then too low.
    A weight is what is computed from parameters and buffers alone, so masks applied on the way count as zeros; a
    product of two activations counts in full. On the meta device all weights count as nonzero.
    Raises ModelError when the model does not run on `inputs`.

    >>> count = count_macs(nn.Linear(784, 300), torch.zeros(1, 784))
    >>> count.total, dict(count.uncounted)
    (235200, {})
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    counter = _Counter(model)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(_eval_mode(model))
            stack.enter_context(_slow_attention())
            stack.enter_context(_stack_of_names(model, counter.running))
            stack.enter_context(counter)
            model(*arguments)
    except PrunelleError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(argument.shape)) for argument in arguments if isinstance(argument, Tensor))
        message = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"{type(model).__name__}: does not run on an input of {shapes} ({type(error).__name__}: {message}); "
            "if that is not the shape it was made for, pass that one."
        ) from error
    return counter.result()


class _Counter(TorchDispatchMode):
    """Sees every operator of one forward pass. Storages are told apart by the address of their C++ object, which also
    exists on the meta device; tensors in `constants` are held, so that no address is used twice."""

    supports_higher_order_operators = True  # else torch refuses to run them; here they are named

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.running = [""]
        self.constants: dict[int, Tensor] = {}
        self.owners: dict[int, list[tuple[str, Tensor]]] = {}
        self.macs: Counter[str] = Counter()
        self.macs_nonzero: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.seen_nnz: dict[tuple[Any, ...], int] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self._remember(tensor)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self.owners.setdefault(_key(parameter), []).append((name.rpartition(".")[0], parameter))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", func)
        rule = formula(packet)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        free = not tensors or is_free(func)
        if rule is None and not free and hasattr(func, "decompose"):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if rule is not None:
            self._count(packet, args, rule(*args, **kwargs, out_val=result))
        elif not free:
            self.uncounted[str(packet)] += 1
        self._follow(tensors, [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)])
        return result

    def _count(self, packet: Any, args: tuple[Any, ...], macs: int) -> None:
        weights = self._weights(packet, args)
        name = self._layer(weights)
        numel = sum(weight.numel() for weight in weights)
        nnz = sum(self._nnz(weight) for weight in weights)
        self.macs[name] += macs
        self.macs_nonzero[name] += macs * nnz // numel if numel else macs

    def _weights(self, packet: Any, args: tuple[Any, ...]) -> list[Tensor]:
        """The operands that are constants: of a matrix product the first found, of a recurrent layer all matrices."""
        operands = tree_leaves([args[place] for place in OPERANDS.get(packet, ()) if place < len(args)])
        constant = [t for t in operands if isinstance(t, Tensor) and _key(t) in self.constants]
        if packet in SEVERAL_WEIGHTS:
            return [weight for weight in constant if weight.ndim == 2]
        return constant[:1]

    def _layer(self, weights: list[Tensor]) -> str:
        """The running module if it holds the weight (tied weights have several holders) or if none does."""
        holders = [
            name
            for weight in weights[:1]
            for name, parameter in self.owners.get(_key(weight), [])
            if 0 <= weight.storage_offset() - parameter.storage_offset() < max(parameter.numel(), 1)
        ]
        return holders[0] if holders and self.running[-1] not in holders else self.running[-1]

    def _nnz(self, weight: Tensor) -> int:
        if weight.is_meta:
            return weight.numel()
        place = (_key(weight), weight.storage_offset(), weight.shape, weight.stride())
        if place not in self.seen_nnz:
            self.seen_nnz[place] = int(weight.count_nonzero())
        return self.seen_nnz[place]

    def _follow(self, arguments: list[Tensor], results: list[Tensor]) -> None:
        """What is made from constants alone is one; a constant that an activation was written into no longer is."""
        constant = bool(arguments) and all(_key(tensor) in self.constants for tensor in arguments)
        for tensor in results:
            if constant:
                self._remember(tensor)
            else:
                self.constants.pop(_key(tensor), None)

    def _remember(self, tensor: Tensor) -> None:
        key = _key(tensor)
        if key:
            self.constants.setdefault(key, tensor)

    def result(self) -> MacCount:
        modules = dict(self.model.named_modules(remove_duplicate=False))
        rows = []
        for name, macs in self.macs.items():
            own = list(modules[name].parameters(recurse=False))
            params = sum(parameter.numel() for parameter in own)
            nnz = sum(self._nnz(parameter) for parameter in own)
            rows.append(LayerMacs(name, macs, self.macs_nonzero[name], params, nnz))
        return MacCount(tuple(rows), dict(self.uncounted))


def _key(tensor: Tensor) -> int:
    """One number for all views of one storage; 0 for a tensor without one (sparse, for example)."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return 0


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def _slow_attention() -> Iterator[None]:
    """nn.MultiheadAttention's fast path is one operator that hides its matrix products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _stack_of_names(model: nn.Module, running: list[str]) -> Iterator[None]:
    """Keep the name of the module that is running at the end of `running`."""
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; its weights still tell their layer
            continue
        handles.append(module.register_forward_pre_hook(lambda _module, _args, name=name: running.append(name)))
        handles.append(module.register_forward_hook(lambda *_: _pop(running), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pop(running: list[str]) -> None:
    running.pop()
