"""The runtime every ratio is taken to: PyTorch as it comes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelle.ship.frozen import frozen


def eager(model: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from images to outputs that calls a frozen copy of the model in inference mode.

    example and threads are there because every runtime has them: PyTorch's thread count belongs to the process, and
    the timer holds it while it measures.
    """
    net = frozen(model)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return net(images)

    return run
