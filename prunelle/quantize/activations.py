"""What int8 does to activations, simulated in PyTorch: convolutions and linear layers read rounded inputs.

The rounding sits in forward pre-hooks, so the module stays the user's own and computes in float: it is as slow and as
large as before, and a saved folder holds no hooks. Real int8 files are made in ship/.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.quantize.grid import affine
from prunelle.quantize.layers import layers_of
from prunelle.quantize.observers import Observer
from prunelle.seeds import generator

BATCH = 64


@dataclass(frozen=True)
class RoundInput:
    """A forward pre-hook. low, high: the range; None takes each call's own (dynamic quantization)."""

    bits: int
    low: float | None = None
    high: float | None = None

    @property
    def simulates(self) -> str:
        """What a Card says beside the model's name."""
        return f"{self.bits}-bit activations"

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        values = inputs[0]
        seen = values.detach()
        low = seen.amin() if self.low is None else seen.new_tensor(self.low)
        high = seen.amax() if self.high is None else seen.new_tensor(self.high)
        inside = values.clamp(low.clamp(max=0.0), high.clamp(min=0.0))
        # Forward the rounded numbers, backward the gradient of the clamp: straight through (arXiv:1308.3432).
        return inside + (affine(seen, low, high, self.bits) - inside).detach(), *inputs[1:]


def simulated(model: nn.Module) -> tuple[str, ...]:
    """Paths of the layers whose inputs are rounded; a Card of such a model says `simulated`."""
    return tuple(
        path
        for path, module in model.named_modules()
        if any(isinstance(hook, RoundInput) for hook in module._forward_pre_hooks.values())
    )


def round_inputs_(model: nn.Module, hooks: dict[str, RoundInput]) -> None:
    """Let layers read rounded inputs. hooks: by path."""
    for path, hook in hooks.items():
        model.get_submodule(path).register_forward_pre_hook(hook)


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Tensor], observer: Observer, bits: int) -> dict[str, RoundInput]:
    """Hooks for every convolution and linear layer that ran, by path, in the ranges that the observer saw.

    batches: images (N, ...) on the model's device. The model's train/eval flags stay as they were.
    """
    flags = {module: module.training for module in model.modules()}
    looks: dict[str, list[Tensor]] = {}
    with ExitStack() as stack:
        for path, layer in layers_of(model).items():
            hook = layer.register_forward_pre_hook(
                lambda _, args, path=path: looks.setdefault(path, []).append(observer.look(args[0]))
            )
            stack.callback(hook.remove)
        try:
            model.eval()
            for images in batches:
                model(images)
        finally:
            for module, flag in flags.items():
                module.training = flag
    ranges = {path: observer.join(torch.stack(seen)).tolist() for path, seen in looks.items()}
    return {path: RoundInput(bits, low, high) for path, (low, high) in ranges.items()}


def calibration_batches(task: Task, seed: int, num_images: int) -> list[Tensor]:
    """About so many training images as they are, unaugmented, drawn by the seed; all of a smaller set."""
    epoch = task.train.epoch(BATCH, order=generator(seed, "calibration"))
    return [images for images, _ in islice(epoch, -(-num_images // BATCH))]
