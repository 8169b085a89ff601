"""Synchronous data-parallel training: one process a rank, started by torchrun, the gradient averaged over ranks.

Every rank holds the same weights, takes its share of each global batch, and adds up loss and gradient weighted by
its share, so the update is that of one process at the global batch. Batch norm uses each replica's own share of the
batch for its statistics and rank 0's running statistics are kept: that differs from one process, and the run says so.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from prunelle.errors import SettingError


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among its equals. One process alone is rank 0 of 1."""

    rank: int = 0
    world: int = 1

    def share(self, batch: Tensor) -> Tensor:
        """This rank's rows of a global batch (N, ...): every `world`-th from `rank` on."""
        return batch if self.world == 1 else batch[self.rank :: self.world]

    def average_(self, tensors: list[Tensor], weight: float) -> None:
        """Replace each tensor by the sum over ranks of weight * tensor, in one message. The weights sum to 1."""
        if self.world == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors]).mul_(weight)
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast_(self, tensors: list[Tensor]) -> None:
        """Rank 0's values on every rank."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()


ALONE = Ranks()


def check_device(device: str) -> None:
    """Raises SettingError when this machine lacks the device."""
    wanted = torch.device(device)
    if wanted.type == "cuda" and not (torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count()):
        raise SettingError(f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices; pass cpu.")


def join(device: torch.device) -> Ranks:
    """This process's place under torchrun (gloo on a CPU, NCCL on GPUs); ALONE when not started by torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(leave)  # its threads must end before the interpreter does, or the process may abort
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
