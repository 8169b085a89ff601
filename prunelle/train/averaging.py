"""A running average of the weights: what a training has settled on, while its last updates still jump about.

Whatever the learning rate is, the average is near to where a training would come to rest. So it is what val looks at,
and what is handed back, also by a training that stops early.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from prunelle.train.step import TrainState, restore_, snapshot

WARM = 10
"""The average reaches over one WARMth of the updates so far: more would hold on to where the training began."""


def kept_share(step: int, span: float) -> float:
    """What is kept of the average at update number `step` (from 0), the rest is the new weights. span: the updates that
    the average reaches over at most; it gets there after WARM times as many.

    Source: Polyak 1992 (averaging); the slow start is that of TensorFlow's ExponentialMovingAverage (num_updates), with
    one more in the denominator.

    >>> round(kept_share(0, 100), 3), round(kept_share(10_000, 100), 3)
    (0.091, 0.99)
    """
    return min(1 - 1 / span, (1 + step) / (WARM + 1 + step)) if span > 1 else 0.0


@torch.no_grad()
def average_(mean: dict[str, Tensor], state: TrainState, kept: float) -> None:
    """Take the state's weights and buffers into the average, in place. Counters are copied, and so is a buffer that has
    come since, such as one that a first forward pass makes."""
    now = {name: tensor.detach() for name, tensor in {**state.weights, **state.buffers}.items()}
    mean |= {name: tensor.clone() for name, tensor in now.items() if name not in mean}
    floats = [name for name, tensor in now.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([mean[name] for name in floats], [now[name] for name in floats], 1 - kept)
    for name in now.keys() - set(floats):
        mean[name].copy_(now[name])


@contextmanager
def averaged(state: TrainState, mean: dict[str, Tensor]) -> Iterator[None]:
    """The average in the place of the weights and buffers while the block lasts. Nothing is done where it is empty."""
    if not mean:
        yield
        return
    own = snapshot(state)
    restore_(state, mean)
    try:
        yield
    finally:
        restore_(state, own)
