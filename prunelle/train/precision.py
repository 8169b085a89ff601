"""The number formats of the forward and backward pass. Weights and optimizer state stay float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from prunelle.errors import SettingError

START_SCALE = 2.0**16
GROW_AFTER = 2000
SMALLEST_SCALE = 2.0**-14


@dataclass(frozen=True)
class Precision:
    """dtype of the matrix products under autocast; None computes all in the weights' own type.

    scaled: the loss is multiplied by a scale that halves at each overflow and doubles after 2,000 good steps, so
    that small float16 gradients do not vanish (Micikevicius 2017, arXiv:1710.03740 section 3.2).
    """

    dtype: torch.dtype | None = None
    scaled: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)

    def check(self, device: torch.device) -> None:
        """Raises SettingError where the device lacks the format."""
        if self.scaled and device.type != "cuda":
            raise SettingError(f"precision: fp16 needs a CUDA device and this is {device.type}; use bf16 or fp32.")


FP32 = Precision()
BF16 = Precision(torch.bfloat16)
FP16 = Precision(torch.float16, scaled=True)


@dataclass
class Scale:
    """The loss scale and how many steps it has held; part of a checkpoint."""

    value: float = START_SCALE
    good_steps: int = 0

    def report_(self, finite: bool) -> None:
        """Halve after an overflow, double after GROW_AFTER good steps in a row."""
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.good_steps == GROW_AFTER:
            self.value, self.good_steps = self.value * 2, 0
