"""Which modules can go without anything else changing its shape: residual blocks, and residual links without weights.

Found by what they do in one forward pass, never by what they are called. Each is then tried alone on the very input
that it got: a block whose branches are made 0 must give its input, up to activations after the sum; a link that gives
nothing must leave what it is added to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunelle.errors import ModelError
from prunelle.graph.carriers import Carrier, Frame, is_sum
from prunelle.graph.trace import as_inputs, reason, without_fast_path

Kind = Literal["block", "link"]


@dataclass(frozen=True)
class Residual:
    """module: its path. kind: a `block` gives way to the identity, a `link` to nothing.

    difference: how far the identity is from the block with its branches at 0, by the activation after the sum: largest
    difference over largest input, on the example inputs. 0 = the same, as where the input was rectified before.
    """

    module: str
    kind: Kind
    difference: float = 0.0


@dataclass(frozen=True)
class Residuals:
    """found: in the order they ran. others: path of a module that ran and is no block -> why, to be read aloud."""

    found: tuple[Residual, ...]
    others: dict[str, str]


def find_residuals(model: nn.Module, example_inputs: Any) -> Residuals:
    """Blocks and links of `model`, innermost first where one holds another; the module stays as it was.

    A block: same shape in and out, one tensor each, and what comes in comes out with something computed from it added.
    A link: a module without weights that its parent's input passes before it is added to what the parent computed.
    example_inputs: a tensor, or a tuple of positional arguments; a batch of 1 is enough. The model runs once, each
    block that was found once more, each link twice. Raises ModelError when the model does not run on them.
    """
    watch = _Watch(model)
    inputs = as_inputs(example_inputs)
    with ExitStack() as stack:
        for context in (torch.no_grad(), evaluating(model), without_fast_path(), watch.hooks(), watch):
            stack.enter_context(context)
        try:
            model(*inputs)
        except Exception as error:  # a network may be anybody's code
            raise ModelError(
                f"{type(model).__name__}: does not run on the example inputs ({reason(error)}); give inputs of the "
                "shape it was made for."
            ) from None
    return watch.result()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode inside, each as it was afterwards."""
    flags = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, flag in flags.items():
            module.training = flag


class _Watch(TorchDispatchMode):
    """Sees every operator and every module's call of one forward pass."""

    supports_higher_order_operators = True  # else torch refuses to run them

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.names: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self.names.setdefault(module, []).append(path)
        self.frames: list[Frame | None] = []
        self.resting = False
        self.num_sums = 0
        self.taken: set[int] = set()  # sums that make a block within this one a block
        self.fits: dict[str, tuple[int, Residual]] = {}
        self.calls: Counter[str] = Counter()
        self.others: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.resting:
            for frame in self.frames:
                if frame is not None:
                    frame.see(func, args, kwargs, self.num_sums, result)
            self.num_sums += is_sum(func, args, kwargs)
        return result

    @contextmanager
    def hooks(self) -> Iterator[None]:
        handles = []
        for module, (path, *_) in self.names.items():
            if path and not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                handles.append(module.register_forward_pre_hook(self.enter, with_kwargs=True))
                handles.append(module.register_forward_hook(self.leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.resting:
            return
        frame = None
        if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and args[0].is_floating_point():
            (x,) = args
            with self.rest():
                frame = Frame(self.names[module][0], x.clone(), self.num_sums, {id(x): Carrier({})}, {id(x): x})
        self.frames.append(frame)

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self.resting:
            return
        frame, path = self.frames.pop(), self.names[module][0]
        self.calls[path] += 1
        if frame is None:
            self.others[path] = "is not called with one tensor and nothing else"
            return
        with self.rest():
            self.try_block(frame, module, result)
            self.try_links(frame, module)
        parent = self.frames[-1] if self.frames else None
        bare = isinstance(result, Tensor) and next(module.parameters(), None) is None
        if parent is not None and bare and id(args[0]) in parent.carriers and id(result) in parent.derived:
            parent.linked.setdefault(id(result), []).append(path)

    def try_block(self, frame: Frame, module: nn.Module, result: Any) -> None:
        """Into `found`, or into `others` with the reason."""
        carrier = frame.carriers.get(id(result))
        sums = {frame.first_sum + number for number in carrier.sides} if carrier else set()
        if not isinstance(result, Tensor):
            why = f"gives a {type(result).__name__}, must give one tensor"
        elif result.shape != frame.before.shape:
            why = f"takes {tuple(frame.before.shape)} and gives {tuple(result.shape)}, which must be the same shape"
        elif not sums:
            why = "does not give what comes in with something computed from it added"
        elif sums <= self.taken:
            why = "adds only what blocks within it add"
        else:
            assert carrier is not None
            branches = {number: 1 - side for number, side in carrier.sides.items()}
            expected = frame.before
            for act in carrier.acts:
                expected = act(expected)
            why = "does not give what comes in when its branches are made 0"
            if same(run_zeroed(module, frame.before, branches), expected):
                self.taken |= sums
                self.note(frame.path, "block", largest_difference(frame.before, expected))
                return
        self.others[frame.path] = why

    def try_links(self, frame: Frame, module: nn.Module) -> None:
        for path, number, side in frame.links:
            link = self.model.get_submodule(path)
            wanted = run_zeroed(module, frame.before, {number: side})
            handle = link.register_forward_hook(lambda _module, _args, result: result.new_zeros(()))
            try:
                found: Any = module(frame.before.clone())
            except Exception:  # a network may be anybody's code
                continue  # it asks for the shape, or writes into what it was given
            finally:
                handle.remove()
            if same(found, wanted):
                self.note(path, "link", 0.0)

    def note(self, path: str, kind: Kind, difference: float) -> None:
        """Another call in which this module could go."""
        times, known = self.fits.get(path, (0, Residual(path, kind)))
        self.fits[path] = times + 1, Residual(path, kind, max(difference, known.difference))

    def result(self) -> Residuals:
        found = []
        for path, (times, residual) in self.fits.items():
            names = self.names[self.model.get_submodule(path)]
            if times < self.calls[path]:
                self.others.setdefault(path, "can go in some of its calls only")
            elif len(names) > 1:
                self.others[path] = f"stands at several places ({', '.join(names)})"
            else:
                found.append(residual)
        kept = {one.module for one in found}
        return Residuals(tuple(found), {path: why for path, why in self.others.items() if path not in kept})

    @contextmanager
    def rest(self) -> Iterator[None]:
        self.resting = True
        try:
            yield
        finally:
            self.resting = False


class _Zeroed(TorchDispatchMode):
    """Puts zeros in for one side of some sums. sides: number of the sum -> which operand."""

    supports_higher_order_operators = True

    def __init__(self, sides: dict[int, int]) -> None:
        super().__init__()
        self.sides = sides
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_sum(func, args, kwargs):
            side = self.sides.get(self.number)
            self.number += 1
            if side is not None:
                zero = args[side].zero_() if side == 0 and func._schema.is_mutable else torch.zeros_like(args[side])
                args = (zero, args[1]) if side == 0 else (args[0], zero)
        return func(*args, **kwargs)


def run_zeroed(module: nn.Module, x: Tensor, sides: dict[int, int]) -> Any:
    with _Zeroed(sides):
        return module(x.clone())


def same(found: Any, wanted: Any) -> bool:
    return isinstance(found, Tensor) and isinstance(wanted, Tensor) and torch.equal(found, wanted)


def largest_difference(x: Tensor, y: Tensor) -> float:
    """As a share of the largest of x; where that is 0, as it is."""
    largest = float(x.abs().max()) if x.numel() else 0.0
    return float((x - y).abs().max()) / (largest or 1.0) if x.numel() else 0.0
