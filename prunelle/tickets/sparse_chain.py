"""Which networks and rules can be trained with the kept weights only: chains of convolutions and linear layers
under cross entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.module import _global_forward_hooks as EVERY_HOOK
from torch.nn.modules.module import _global_forward_pre_hooks as EVERY_PRE_HOOK

from prunelle.errors import ModelError, SettingError
from prunelle.tickets.sparse_linear_c import ACTIVATIONS
from prunelle.train.losses import Plain, SmoothedLabels
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import FP32
from prunelle.train.step import Update

WORDS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
KNOWN = "Sequential, Flatten, Identity, Linear, Conv2d, MaxPool2d, ReLU, LeakyReLU, Tanh and Sigmoid"
LARGEST_POOL = 11
"""Where the largest of a window stood is kept in a byte."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Link:
    """A layer, the activation behind it and the maximum taken over pool x pool of what a convolution gives. weight,
    bias: names; None without a bias. shape: (outputs, inputs) or (outputs, channels, height, width). activation: a
    place in `sparse_linear_c.ACTIVATIONS`. slope: of LeakyReLU below 0. ceil: whether windows may end outside."""

    weight: str
    bias: str | None
    shape: tuple[int, ...]
    activation: int = 0
    slope: float = 0.0
    pool: int = 1
    ceil: bool = False

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def convolves(self) -> bool:
        return len(self.shape) == 4


def chain_of(model: nn.Module) -> tuple[Link, ...]:
    """The layers in their order. Raises ModelError, naming the place, for a network that is no such chain."""
    links: list[Link] = []
    flat = False
    for name, module in leaves(model, ""):
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise refused(name, f"flattens axes {module.start_dim} to {module.end_dim}, must be 1 to -1")
            flat = True
        elif isinstance(module, nn.Linear | nn.Conv2d):
            links.append(layer_of(name, module, flat, links))
        elif not isinstance(module, nn.Identity):
            last = links.pop() if links else None
            if last is None or (isinstance(module, nn.MaxPool2d) and (flat or not last.convolves)):
                raise refused(name, f"is {module}, must stand behind a layer")
            links.append(pooled(name, module, last) if isinstance(module, nn.MaxPool2d) else active(name, module, last))
    if not links or links[-1].convolves or links[-1].activation:
        raise refused("network", "does not end in a linear layer, must do so for cross entropy")
    check_tensors(model, links)
    return tuple(links)


def layer_of(name: str, module: nn.Linear | nn.Conv2d, flat: bool, before: list[Link]) -> Link:
    """A linear layer or a convolution. Raises ModelError."""
    if isinstance(module, nn.Linear) != flat:
        where = "behind nn.Flatten()" if isinstance(module, nn.Linear) else "before nn.Flatten()"
        raise refused(name, f"is {module}, must stand {where}")
    shape = tuple(module.weight.shape)
    if before and before[-1].convolves == (len(shape) == 4) and before[-1].outputs != shape[1]:
        raise refused(name, f"reads {shape[1]} numbers or channels, the layer before gives {before[-1].outputs}")
    if isinstance(module, nn.Conv2d):
        told = (module.stride, module.padding, module.dilation, module.groups)
        if told != ((1, 1), (0, 0), (1, 1), 1):
            raise refused(name, f"is {module}, must have stride 1, no padding, no dilation and one group")
    return Link(f"{name}.weight", f"{name}.bias" if module.bias is not None else None, shape)


def active(name: str, module: nn.Module, last: Link) -> Link:
    """The layer with the activation behind it. Raises ModelError."""
    slope = float(getattr(module, "negative_slope", 0.0))
    if last.activation:
        raise refused(name, f"is {module}, must stand behind a layer that has no activation yet")
    if slope < 0:
        raise refused(name, f"has the slope {slope:g}, must be 0 or more")
    return replace(last, activation=ACTIVATIONS.index(WORDS[type(module)]), slope=slope)


def pooled(name: str, module: nn.MaxPool2d, last: Link) -> Link:
    """The convolution with the maximum behind it, which may as well be taken before the activation: all of them rise.
    Raises ModelError."""
    size, stride, padding, dilation = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    plain = size == stride == (size[0], size[0]) and (padding, dilation) == ((0, 0), (1, 1))
    if not plain or size[0] > LARGEST_POOL or module.return_indices or last.pool > 1:
        raise refused(name, f"is {module}, must be the only one there, square, as far apart as it is large, not padded")
    return replace(last, pool=size[0], ceil=module.ceil_mode)


def leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules inside nested Sequentials, in the order they run. Raises ModelError for any other, and for hooks."""
    place = name or "network"
    if any(getattr(module, hooks) for hooks in HOOKS) or EVERY_HOOK or EVERY_PRE_HOOK or "forward" in vars(module):
        raise refused(place, "has hooks or a forward of its own, must be plain")
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for key, child in module._modules.items():  # named_children leaves out what stands there twice
            assert child is not None
            yield from leaves(child, f"{name}.{key}" if name else key)
    elif type(module) in (nn.Flatten, nn.Identity, nn.Linear, nn.Conv2d, nn.MaxPool2d, *WORDS):
        yield name, module
    else:
        raise refused(place, f"is a {type(module).__name__}, must be one of {KNOWN}")


def check_tensors(model: nn.Module, links: list[Link]) -> None:
    """Raises ModelError where tensors are shared, frozen, not float32 on the CPU, or not of the chain."""
    names = [name for link in links for name in (link.weight, link.bias) if name]
    owners: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if name not in names:
            raise refused(name, "belongs to no layer of the chain, must be removed")
        if id(weight) in owners:
            raise refused(name, f"is the same tensor as {owners[id(weight)]}, must be one of its own")
        if not weight.requires_grad or weight._backward_hooks:
            raise refused(name, "is frozen or has a hook, must be trained as it is")
        if weight.dtype != torch.float32 or not weight.is_cpu:
            raise refused(name, f"is {weight.dtype} on {weight.device}, must be torch.float32 on cpu")
        owners[id(weight)] = name
    for name, _ in model.named_buffers():
        raise refused(name, "is a buffer, must be removed")


def refused(place: str, problem: str) -> ModelError:
    return ModelError(f"{place}: {problem} to train kept weights only; train this network under masks instead.")


def check_rule(rule: Update) -> None:
    """Raises SettingError for an update that is not one process's cross entropy in float32 by SGD or Adam."""
    base = rule.objective
    if not (type(base) is SmoothedLabels or (type(base) is Plain and base.loss is cross_entropy)):
        raise unfit("the objective", f"{base!r:.80}", "cross entropy, with smoothed labels or without")
    if type(rule.optimizer) not in (Sgd, Adam):
        raise unfit("the optimizer", repr(rule.optimizer), "Sgd or Adam")
    if rule.precision != FP32:
        raise unfit("the precision", repr(rule.precision), "FP32")
    if rule.ranks.world != 1:
        raise unfit("the number of ranks", str(rule.ranks.world), "1")


def unfit(what: str, came: str, allowed: str) -> SettingError:
    return SettingError(
        f"sparse training: {what} is {came}, must be {allowed} to train kept weights only; train under masks instead."
    )
