"""Quantization-aware training: the network learns with the rounding that it will be shipped with."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import nn

from prunelle.data.task import Task
from prunelle.errors import DivergedError
from prunelle.quantize.activations import calibrate, calibration_batches, round_inputs_
from prunelle.quantize.grid import check_bits
from prunelle.quantize.layers import channel_axes, layers_of
from prunelle.quantize.observers import MinMax, Observer
from prunelle.quantize.scales import ScaleRule, by_largest
from prunelle.quantize.straight_through import round_weight_
from prunelle.runs import Run
from prunelle.train.identity import identity
from prunelle.train.loop import fit_
from prunelle.train.settings import TrainSettings

NUM_IMAGES = 512


@dataclass(frozen=True)
class QuantizationAwareTraining:
    """Train on with weights of convolutions and linear layers rounded in every forward pass.

    bits: of weights, 2 to 8. rule: gives the grids, which follow the weights. bits_activations: of what these layers
    read, simulated (see quantize.activations) in ranges that the observer sees on 512 training images beforehand; None
    leaves activations alone. Zeros stay zeros, batch norm trains as ever. The module returned is the user's own with
    the rounded weights in it. Raises SettingError; DivergedError with such a module.
    """

    bits: int
    settings: TrainSettings
    bits_activations: int | None = None
    observer: Observer = field(default_factory=MinMax)
    per_channel: bool = True
    rule: ScaleRule = by_largest
    name: str = "qat"

    def __post_init__(self) -> None:
        check_bits(self.bits, self.name)
        check_bits(self.bits_activations or 8, self.name)

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        made = copy.deepcopy(model).to(run.device).eval()
        if self.bits_activations:
            images = calibration_batches(task, run.seed, NUM_IMAGES)
            round_inputs_(made, calibrate(made, images, self.observer, self.bits_activations))
        learner = copy.deepcopy(made)
        axes = channel_axes(made)
        for path, layer in layers_of(learner).items():
            axis = axes.get(f"{path}.weight", 0) if self.per_channel else None
            round_weight_(layer, self.bits, axis, self.rule)
        try:
            fit_(learner, task, self.settings, run, self.name, begun=begun)
        except DivergedError as error:
            raise DivergedError(str(error), settle_(made, learner)) from None
        return settle_(made, learner)


@torch.no_grad()
def settle_(plain: nn.Module, learner: nn.Module) -> nn.Module:
    """Give `plain` what `learner` computes with: rounded weights, and all else as it was learnt."""
    for path, module in plain.named_modules():
        learnt = learner.get_submodule(path)
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            tensor.copy_(getattr(learnt, name))
    for path, layer in layers_of(plain).items():  # last, for weights that an embedding shares
        layer.weight.copy_(layers_of(learner)[path].weight)
    return plain
