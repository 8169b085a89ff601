"""A model as it will be run: a copy for inference, which nothing done to the original can change."""

import copy

import torch
from torch import Tensor, nn

from prunelle.errors import SettingError


def frozen(model: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode without gradients; the model itself keeps its flags.

    >>> frozen(nn.Dropout()).training
    False
    """
    return copy.deepcopy(model).eval().requires_grad_(False)


def two_or_more(example: Tensor) -> Tensor:
    """The example with at least two images: torch.export takes a batch of one for a constant, not for a batch."""
    return example if len(example) > 1 else torch.cat([example, example])


def refuse_gpu(runtime: str, example: Tensor) -> None:
    """Raises SettingError when the example is not in the CPU's memory: a copy per call would hide in the latency."""
    if example.device.type != "cpu":
        raise SettingError(
            f"runtime {runtime}: the example is on {example.device}, this runtime reads CPU memory; "
            "pass an example on the CPU, or take the runtime eager or compile."
        )
