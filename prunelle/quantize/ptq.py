"""Quantization after training: a step that rounds weights, and two that simulate int8 activations beside."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import nn

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.measure.params import prunable
from prunelle.quantize.activations import RoundInput, calibrate, calibration_batches, round_inputs_
from prunelle.quantize.grid import check_bits, symmetric
from prunelle.quantize.layers import channel_axes, layers_of
from prunelle.quantize.observers import MinMax, Observer
from prunelle.quantize.scales import ScaleRule, by_largest, scale_of
from prunelle.runs import Run


@dataclass(frozen=True)
class QuantizeWeights:
    """Round all prunable weights to `bits` bits, symmetrically, so that zeros stay zeros. No training.

    bits: 2 to 8. per_channel: a scale for each output channel, else one a tensor. The module returned holds float
    numbers that stand exactly on their grids: any runtime runs it, and a file that knows the grids can be small.
    Raises SettingError.
    """

    bits: int = 8
    per_channel: bool = True
    rule: ScaleRule = by_largest
    name: str = "quantize"

    def __post_init__(self) -> None:
        check_bits(self.bits, self.name)

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        model = copy.deepcopy(model).to(run.device)
        round_weights_(model, self.bits, self.per_channel, self.rule)
        return model


@dataclass(frozen=True)
class PostTrainingStatic:
    """Round weights, and simulate activations in ranges fixed by training images (see quantize.activations).

    bits: of weights; bits_activations: of what convolutions and linear layers read; both 2 to 8. observer: how ranges
    are found. num_images: about so many. Raises SettingError.
    """

    bits: int = 8
    bits_activations: int = 8
    observer: Observer = field(default_factory=MinMax)
    num_images: int = 512
    per_channel: bool = True
    rule: ScaleRule = by_largest
    name: str = "static_simulated"

    def __post_init__(self) -> None:
        check_bits(self.bits, self.name)
        check_bits(self.bits_activations, self.name)
        if self.num_images < 1:
            raise SettingError(f"{self.name}: num_images is {self.num_images}, must be at least 1.")

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        model = copy.deepcopy(model).to(run.device)
        images = calibration_batches(task, run.seed, self.num_images)
        hooks = calibrate(model, images, self.observer, self.bits_activations)
        round_weights_(model, self.bits, self.per_channel, self.rule)
        round_inputs_(model, hooks)
        return model


@dataclass(frozen=True)
class Dynamic:
    """Round weights, and simulate activations in the range of each batch as it comes. No images are needed.

    bits, bits_activations: as in PostTrainingStatic. Raises SettingError.
    """

    bits: int = 8
    bits_activations: int = 8
    per_channel: bool = True
    rule: ScaleRule = by_largest
    name: str = "dynamic_simulated"

    def __post_init__(self) -> None:
        check_bits(self.bits, self.name)
        check_bits(self.bits_activations, self.name)

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        model = copy.deepcopy(model).to(run.device)
        round_weights_(model, self.bits, self.per_channel, self.rule)
        round_inputs_(model, {path: RoundInput(self.bits_activations) for path in layers_of(model)})
        return model


@torch.no_grad()
def round_weights_(model: nn.Module, bits: int, per_channel: bool = True, rule: ScaleRule = by_largest) -> None:
    """Round all prunable weights in place."""
    axes = channel_axes(model)
    for name, weight in prunable(model).items():
        scale = scale_of(weight, bits, axes[name] if per_channel else None, rule)
        weight.copy_(symmetric(weight, scale, bits))
