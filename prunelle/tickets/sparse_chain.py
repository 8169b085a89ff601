"""Which networks and rules can be trained with the kept weights only: chains of linear layers under cross entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.module import _global_forward_hooks as EVERY_HOOK
from torch.nn.modules.module import _global_forward_pre_hooks as EVERY_PRE_HOOK

from prunelle.errors import ModelError, SettingError
from prunelle.tickets.sparse_c import ACTIVATIONS
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
KNOWN = "Sequential, Flatten, Identity, Linear, ReLU, LeakyReLU, Tanh and Sigmoid"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Link:
    """A linear layer and the activation behind it. weight, bias: names; None without a bias. activation: a place in
    `sparse_c.ACTIVATIONS`. slope: of LeakyReLU below 0."""

    weight: str
    bias: str | None
    inputs: int
    outputs: int
    activation: int = 0
    slope: float = 0.0


def chain_of(model: nn.Module) -> tuple[Link, ...]:
    """The linear layers in their order. Raises ModelError, naming the place, for a network that is no such chain."""
    links: list[Link] = []
    flat = False
    for name, module in leaves(model, ""):
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise refused(name, f"flattens axes {module.start_dim} to {module.end_dim}, must be 1 to -1")
            flat = True
        elif isinstance(module, nn.Linear):
            if not flat:
                raise refused(name, "reads images that are not flattened, must come behind nn.Flatten()")
            if links and links[-1].outputs != module.in_features:
                raise refused(name, f"reads {module.in_features} numbers, the layer before gives {links[-1].outputs}")
            bias = f"{name}.bias" if module.bias is not None else None
            links.append(Link(f"{name}.weight", bias, module.in_features, module.out_features))
        elif not isinstance(module, nn.Identity):
            if not links or links[-1].activation:
                raise refused(name, f"is {module}, must stand right behind a linear layer")
            word, slope = WORDS[type(module)], float(getattr(module, "negative_slope", 0.0))
            if slope < 0:
                raise refused(name, f"has the slope {slope:g}, must be 0 or more")
            last = links.pop()
            kind = ACTIVATIONS.index(word)
            links.append(Link(last.weight, last.bias, last.inputs, last.outputs, kind, slope))
    if not links or links[-1].activation:
        raise refused("network", "does not end in a linear layer, must do so for cross entropy")
    check_tensors(model, links)
    return tuple(links)


def leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules inside nested Sequentials, in the order they run. Raises ModelError for any other, and for hooks."""
    place = name or "network"
    if any(getattr(module, hooks) for hooks in HOOKS) or EVERY_HOOK or EVERY_PRE_HOOK or "forward" in vars(module):
        raise refused(place, "has hooks or a forward of its own, must be plain")
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for key, child in module._modules.items():  # named_children leaves out what stands there twice
            assert child is not None
            yield from leaves(child, f"{name}.{key}" if name else key)
    elif type(module) in (nn.Flatten, nn.Identity, nn.Linear, *WORDS):
        yield name, module
    else:
        raise refused(place, f"is a {type(module).__name__}, must be one of {KNOWN}")


def check_tensors(model: nn.Module, links: list[Link]) -> None:
    """Raises ModelError where tensors are shared, frozen, not float32 on the CPU, or not of the chain."""
    names = [name for link in links for name in (link.weight, link.bias) if name]
    owners: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if name not in names:
            raise refused(name, "belongs to no linear layer of the chain, must be removed")
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
