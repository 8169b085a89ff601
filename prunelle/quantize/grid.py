"""Rounding onto a grid of few numbers and back, as plain functions: what int8 and its narrower kin can hold."""

from __future__ import annotations

import torch
from torch import Tensor

from prunelle.errors import SettingError


def check_bits(bits: int, where: str) -> None:
    """Raises SettingError outside 2..8."""
    if not 2 <= bits <= 8:
        raise SettingError(f"{where}: bits is {bits}, must be 2 to 8; for more, leave the numbers as they are.")


def largest_code(bits: int) -> int:
    """Codes of the symmetric grid run from minus this to plus this: one of the 2**bits is given up, so that the grid
    is as wide below 0 as above.

    >>> largest_code(8), largest_code(4), largest_code(2)
    (127, 7, 1)
    """
    return 2 ** (bits - 1) - 1


def symmetric(values: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The nearest numbers code * scale, of which 0 is one; what lies outside goes to the ends.

    values: float, any shape. scale: above 0, broadcast against the values. Returns values' shape and dtype.

    >>> symmetric(torch.tensor([0.0, 0.4, -0.9, 5.0]), torch.tensor(0.5), bits=3)
    tensor([ 0.0000,  0.5000, -1.0000,  1.5000])
    """
    most = largest_code(bits)
    codes = (values / scale).round().clamp(-most, most)
    return codes * scale + 0.0  # -0 becomes +0, which packs as a zero


def affine(values: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """The nearest of 2**bits numbers spread evenly from low to high, shifted so that 0 is one of them.

    values: float, any shape. low, high: of the range, broadcast against the values; widened to hold 0, because
    padding and ReLU put exact zeros there. A range of nothing but 0 leaves 0. Returns values' shape and dtype.
    Source: Jacob 2018, arXiv:1712.05877 section 2.1 and appendix A.

    >>> affine(torch.tensor([0.0, 0.4, 2.9, 9.0]), torch.tensor(0.0), torch.tensor(3.0), bits=2)
    tensor([0., 0., 3., 3.])
    """
    levels = 2**bits - 1
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = torch.where(high > low, (high - low) / levels, torch.ones_like(high))
    zero = (-low / scale).round()
    codes = (values.clamp(low, high) / scale + zero).round().clamp(0, levels)
    return (codes - zero) * scale
