"""The order of an epoch, shared by every split that draws its own batches."""

from __future__ import annotations

import torch
from torch import Tensor

from prunelle.errors import SettingError


def batches(
    num: int,
    batch_size: int,
    *,
    order: torch.Generator | None = None,
    start: int = 0,
    drop_last: bool = False,
    device: str | torch.device = "cpu",
) -> list[tuple[int, Tensor]]:
    """(batch number, int64 indices on `device`) for each batch from number `start` on.

    The order is drawn whole whatever `start` is, so a resumed epoch sees the tail of the one it continues.
    Raises SettingError when batch_size < 1 or start < 0.

    >>> batches(5, 2, start=1)
    [(1, tensor([2, 3])), (2, tensor([4]))]
    """
    if batch_size < 1:
        raise SettingError(f"batch_size is {batch_size}, must be at least 1.")
    if start < 0:
        raise SettingError(f"start is {start}, must be the number of a batch, 0 or more.")
    indices = torch.arange(num) if order is None else torch.randperm(num, generator=order)
    chunks = list(indices.to(device).split(batch_size)) if num else []
    if drop_last and len(chunks) > 1 and len(chunks[-1]) < batch_size:
        chunks = chunks[:-1]
    return list(enumerate(chunks))[start:]
